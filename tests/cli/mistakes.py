"""What users get wrong, and what they have to be told: what is wrong, where it stands, what to do about it."""

from typing import NamedTuple

TRAIN = """
import torch
from transformers import Trainer

def build(args):
    {body}
"""
MODEL = "model = torch.nn.Linear(2, 1); "
BUILD = "build: train.py:build\nglobal_batch_size: 8\n"
"""Two lines, so that what a mistake adds stands in line 3."""
WITHOUT_CODE = """config: {model_type: bert, vocab_size: 99, hidden_size: 16, intermediate_size: 16,
         num_hidden_layers: 1, num_attention_heads: 2}
task: sequence-classification
global_batch_size: 8
"""
"""Four lines, without data."""
SYNTHETIC = WITHOUT_CODE + "data: {synthetic: {num_samples: 16, mean_length: 8, max_length: 8}}\n"
REVIEWS = '{"text": "good", "label": 1}\n{"text": "bad", "label": 0}\n' * 4
TOKENIZER = "tokenizer: {tokenizer}\n"


class Mistake(NamedTuple):
    """One of them."""

    name: str
    text: str
    """Of ``model.yaml``."""
    said: tuple[str, ...]
    """In the message: what, where, and what to do."""
    code: int = 2
    arguments: tuple[str, ...] = ("probe", "model.yaml", "--no-prior", "--quiet")
    files: dict[str, str] = {"train.py": TRAIN.format(body="return None"), "reviews.jsonl": REVIEWS}  # noqa: RUF012


def in_file(name: str, text: str, *said: str) -> Mistake:
    """Seen when the probe file is read."""
    return Mistake(name, text, said)


def typed(name: str, code: int, arguments: str, *said: str, text: str = SYNTHETIC, **files: str) -> Mistake:
    """Seen on the command line."""
    return Mistake(
        name, text, said, code, tuple(arguments.split()), {f.replace("__", "."): t for f, t in files.items()}
    )


def in_code(name: str, body: str, *said: str, text: str = BUILD, whole: str | None = None) -> Mistake:
    """Seen when the user's own code is run."""
    return Mistake(name, text, said, 3, files={"train.py": whole or TRAIN.format(body=body)})


def in_data(name: str, data: str, rows: str, *said: str, more: str = TOKENIZER) -> Mistake:
    """Seen when a workload without code is built."""
    return Mistake(name, f"{WITHOUT_CODE}data: {data}\n{more}", said, 3, files={"reviews.jsonl": rows})


IN_FILE = (
    # The text itself.
    in_file("empty file", "", "model.yaml", "is empty", "perftune init"),
    in_file("only a comment", "# todo\n", "model.yaml", "is empty", "perftune init"),
    in_file("a list", "- build\n", "line 1", "is a list", "key: value"),
    in_file("a tab", "build: train.py:build\ntarget:\n\tmemory: 4GiB\n", "line 3", "tab", "spaces"),
    in_file("a quote that is not closed", 'build: "train.py:build\nglobal_batch_size: 8\n', "line 1", "quote", "close"),
    in_file("a bracket that is not closed", BUILD + "knobs: {optim: [adamw_torch\n", "line 3", "bracket", "close"),
    in_file("a colon without a space", "build:train.py:build\nglobal_batch_size: 8\n", "line 2", "colon", "space"),
    in_file("a colon in a value", BUILD + "name: my: model\n", "line 3", "colon", "quotes"),
    in_file("wrong indentation", BUILD + "target:\n  device: cpu\n    memory: 4GiB\n", "line 5", "indent"),
    in_file("less indentation", BUILD + "  seed: 1\n", "line 3", "indent"),
    in_file("a key twice", BUILD + "seed: 1\nseed: 2\n", "line 4: seed", "first in line 3", "keep one"),
    in_file("two documents", BUILD + "---\nseed: 1\n", "line 3", "---", "one"),
    in_file("not UTF-8", "build: \udcff\n", "line 1", "UTF-8", "save it"),
    # Keys.
    in_file("unknown key", BUILD + "objectiv: cost\n", "line 3: objectiv", "unknown key", "Did you mean objective?"),
    in_file("key of another section", BUILD + "memory: 4GiB\n", "line 3: memory", "belongs under target"),
    in_file("argument at the top", BUILD + "learning_rate: 1\n", "line 3: learning_rate", "under training_arguments"),
    in_file("knob at the top", BUILD + "precision: bf16\n", "line 3: precision", "belongs under knobs"),
    in_file("unknown knob", BUILD + "knobs: {optimizer: sgd}\n", "line 3: knobs.optimizer", "Did you mean optim?"),
    in_file("another spelling of a key", BUILD + "Budget: {minutes: 3}\n", "line 3: Budget", "Did you mean budget?"),
    in_file("dashes in a key", BUILD + "loss-tolerance: 0.1\n", "line 3: loss-tolerance", "mean loss_tolerance?"),
    # Values.
    in_file("a word for a number", BUILD + "seed: one\n", "line 3: seed", '"one"', "a whole number"),
    in_file("no batch", "build: train.py:build\n", "line 1: global_batch_size", "is missing", "Samples per optimizer"),
    in_file("batch of nothing", "build: train.py:build\nglobal_batch_size: 0\n", "line 2", "should be at least 1"),
    in_file("a batch of tokens", "build: train.py:build\nglobal_batch_size: 4000000\n", "line 2", "at most 1048576"),
    in_file("memory without unit", BUILD + "target: {memory: 4}\n", "line 3: target.memory", "did you mean 4GiB?"),
    in_file("memory with half a unit", BUILD + "target: {memory: 4G}\n", "line 3: target.memory", "mean 4GiB?"),
    in_file("memory below zero", BUILD + "target: {memory: -4GiB}\n", "line 3: target.memory", "such as 4GiB"),
    in_file("memory of a word", BUILD + "target: {memory: all}\n", "line 3: target.memory", '"all"', "GiB"),
    in_file("headroom in percent", BUILD + "target: {headroom: 10}\n", "line 3: target.headroom", "10", "with %"),
    in_file("an unknown device", BUILD + "target: {device: gpu}\n", "line 3: target.device", "Did you mean cuda?"),
    in_file("no time", BUILD + "budget: {minutes: 0}\n", "line 3: budget.minutes", "should be more than 0"),
    in_file("no trials", BUILD + "budget: {trials: -1}\n", "line 3: budget.trials", "should be at least 1"),
    in_file("a budget of minutes", BUILD + "budget: 10\n", "line 3: budget", "10", "a mapping"),
    in_file("endless time", BUILD + "budget: {minutes: .inf}\n", "line 3: budget.minutes", "finite"),
    in_file("an objective that is none", BUILD + "objective: fast\n", "line 3: objective", "samples_per_second"),
    in_file("cost without a price", BUILD + "objective: cost\n", "line 3: objective", "price_per_hour"),
    in_file("a change that is none", BUILD + "allow: [mixed]\n", "line 3: allow[0]", "mixed-precision"),
    # What trains.
    in_file("nothing to train", "global_batch_size: 8\n", "line 1", "build: train.py:build", "model:"),
    in_file("code and a model", BUILD + "model: gpt2\n", "line 3: model", "does not go with build", "keep one"),
    in_file("no function", "build: train.py\nglobal_batch_size: 8\n", "line 1: build", "train.py:build"),
    in_file("no such file", "build: trian.py:build\nglobal_batch_size: 8\n", "line 1: build", "Did you mean train.py?"),
    in_file("no such function", "build: train.py:bild\nglobal_batch_size: 8\n", "line 1: build", "Did you mean build?"),
    in_file("a module", "build: train:build\nglobal_batch_size: 8\n", "line 1: build", "Python", "train.py:build"),
    in_file("no such folder", "build: src/train.py:build\nglobal_batch_size: 8\n", "line 1: build", "no folder"),
    in_file("no data", WITHOUT_CODE, "line 1: data", "is missing", "synthetic"),
    in_file("no task", "model: gpt2\ndata: synthetic\nglobal_batch_size: 8\n", "line 1: task", "causal-lm"),
    in_file("a task that is none", SYNTHETIC.replace("sequence-", "text-"), "line 3: task", "sequence-classification"),
    in_file("a data file that is not there", WITHOUT_CODE + "data: rewiews.jsonl\n" + TOKENIZER,
            "line 5: data", "reviews.jsonl?"),
    in_file("data of another kind", WITHOUT_CODE + "data: x.xlsx\n" + TOKENIZER, "line 5: data", '"x.xlsx"', ".csv"),
    in_file("a split of a file", WITHOUT_CODE + "data: {path: reviews.jsonl, split: test}\n" + TOKENIZER,
            "data.split", "leave it out"),
    in_file("text without a tokenizer", WITHOUT_CODE + "data: reviews.jsonl\n", "tokenizer", "is missing", "folder"),
    # The user's own arguments.
    in_file("unknown argument", BUILD + "training_arguments: {lr: 1}\n", "line 3: training_arguments.lr",
            "learning_rate?"),
    in_file("an old argument", BUILD + "training_arguments: {evaluation_strategy: epoch}\n", "line 3", "eval_strategy"),
    in_file("a word for a boolean", BUILD + "training_arguments: {bf16: maybe}\n", "line 3",
            '"maybe"', "true or false"),
    in_file("two precisions", BUILD + "training_arguments: {fp16: true, bf16: true}\n", "line 3",
            "keep one of the two"),
    in_file("a batch that does not divide", BUILD + "training_arguments: {per_device_train_batch_size: 3}\n",
            "line 3", "3 does not divide the global batch 8", "Possible: 1, 2, 4, 8"),
    in_file("a batch that makes another", BUILD + "training_arguments: {per_device_train_batch_size: 4, "
            "gradient_accumulation_steps: 4}\n", "line 3", "makes 16, not the global batch 8", "4 × 2"),
    in_file("DeepSpeed", BUILD + "training_arguments: {deepspeed: ds.json}\n", "line 3", "DeepSpeed", "Leave it out"),
    in_file("a learning rate of text", BUILD + "training_arguments: {learning_rate: '5e-5'}\n", "line 3", "quotes"),
    # Knobs.
    in_file("a value that no knob has", BUILD + "knobs: {precision: [bf16, int8]}\n", "knobs.precision[1]", "bf16 or"),
    in_file("a micro-batch that does not divide", BUILD + "knobs: {per_device_train_batch_size: [3]}\n",
            "knobs.per_device_train_batch_size", "3 does not divide", "1, 2, 4, 8"),
    in_file("devices that do not divide", BUILD + "target: {count: 3}\n", "line 2: global_batch_size", "Possible near"),
    in_file("a knob of nothing", BUILD + "knobs: {optim: []}\n", "line 3: knobs.optim", "at least one"),
)  # fmt: skip

TYPED = (
    typed("no such probe file", 2, "probe nothing.yaml", "nothing.yaml", "no such file", "perftune init"),
    typed("a folder for a probe file", 2, "probe .", "is a folder", "model.yaml"),
    typed("an unknown command", 2, "prob model.yaml", "invalid choice: 'prob'", "Did you mean probe?"),
    typed("an unknown option", 2, "probe model.yaml --minute 3", "unrecognized arguments: --minute",
          "Did you mean --minutes?"),
    typed("minutes of nothing", 2, "probe model.yaml --minutes 0", "--minutes", "above 0"),
    typed("trials of a word", 2, "probe model.yaml --trials many", "--trials", "a whole number from 1"),
    typed("a strategy that is none", 2, "probe model.yaml --strategy luck", "--strategy", "model", "random"),
    typed("the output is a file", 6, "probe model.yaml --out model.yaml", "model.yaml is a file", "--out"),
    typed("the output holds an answer of others", 6, "probe model.yaml --out .", "training_args.yaml", "--out",
          training_args__yaml="bf16: true\n"),
    typed("the output cannot be written", 10, "probe model.yaml --quiet --out model.yaml/run", "model.yaml/run",
          "cannot be written", "run the same command again"),
    typed("the output holds no study", 8, "probe model.yaml --out .", "study.json", "not a study", "--out",
          study__json="{}"),
    typed("the output holds a study to come", 8, "probe model.yaml --out .", "study.json", "format 99",
          "update perftune",
          study__json='{"format_version": 99}'),
    typed("a GPU that is none", 4, "plan model.yaml --gpu h1000", "'h1000'", "The nearest: h100", "perftune gpus"),
    typed("a GPU of several kinds", 4, "plan model.yaml --gpu a100", "a100 could be", "name one of them"),
    typed("no GPU", 2, "plan model.yaml", "--gpu"),
    typed("one GPU that is shared", 2, "plan model.yaml --gpu t4 --sharding fsdp", "--sharding", "add --count"),
    typed("GPUs that do not divide the batch", 2, "plan model.yaml --gpu t4 --count 3", "global_batch_size", "3 GPUs"),
    typed("prices that are not there", 4, "plan model.yaml --gpu t4 --price p.yaml", "p.yaml", "cannot be read"),
    typed("a price of a word", 4, "plan model.yaml --gpu t4 --price p.yaml", "p.yaml", "t4", "positive number",
          p__yaml="t4: cheap\n"),
    typed("a price of an unknown GPU", 4, "plan model.yaml --gpu t4 --price p.yaml", "p.yaml", "'t44'",
          "The nearest: t4",
          p__yaml="t44: 1\n"),
    typed("a catalogue that is none", 4, "gpus --catalogue g.yaml", "g.yaml", "gpus or sources", g__yaml="t4: {}\n"),
    typed("init where a file is", 6, "init model.yaml", "model.yaml is there already", "--force"),
)  # fmt: skip

IN_CODE = (
    in_code("code that does not parse", "", "train.py, line 2", "SyntaxError", whole="import torch\ndef build(args:\n"),
    in_code("a module that is not installed", "", "train.py, line 1", "No module named 'no_such_module'", "Install",
            whole="import no_such_module\ndef build(args): return None\n"),
    in_code("a wrong signature", "", "train.py:build", "def build(args)", whole="def build(): return None\n"),
    in_code("two arguments", "", "train.py:build", "def build(args)", whole="def build(args, data): return None\n"),
    in_code("nothing returned", "Trainer(model=torch.nn.Linear(2, 1), args=args)", "train.py:build", "returned None",
            "return"),
    in_code("a class returned", "return Trainer", "train.py:build", "returned the class Trainer", "Trainer(…)"),
    in_code("a model returned", "return torch.nn.Linear(2, 1)", "train.py:build", "returned Linear",
            "a transformers.Trainer"),
    in_code("code that raises", "raise ValueError('no such column: txt')", "train.py, line 6",
            "ValueError: no such column: txt"),
    in_code("a file that is not there", "open('data.csv')", "train.py, line 6", "data.csv"),
    in_code("a script that ends", "import sys; sys.exit(3)", "train.py, line 6", "SystemExit"),
    in_code("no data", f"{MODEL}return Trainer(model=model, args=args)", "requires a train_dataset"),
    in_code("empty data", f"{MODEL}return Trainer(model=model, args=args, train_dataset=[])", "train_dataset",
            "no samples"),
    in_code("arguments that are changed", f"args.per_device_train_batch_size = 2; {MODEL}"
            "return Trainer(model=model, args=args, train_dataset=[1])", "per_device_train_batch_size is 2 and not 8",
            "Hand `args` on"),
    in_code("evaluation without data", f"{MODEL}return Trainer(model=model, args=args, train_dataset=[1])",
            "eval_dataset", "eval_strategy", text=BUILD + "training_arguments: {eval_strategy: epoch}\n"),
    in_code("strategies that differ", "return None", "training_arguments", "save", "eval strategy",
            text=BUILD + "training_arguments: {load_best_model_at_end: true, eval_strategy: steps, "
            "save_strategy: epoch}\n"),
    in_code("an optimizer that is none", "return None", "training_arguments", "adam_torch",
            text=BUILD + "training_arguments: {optim: adam_torch}\n"),
)  # fmt: skip

IN_DATA = (
    Mistake("a model that is nowhere",
            "model: no-one/no-model\ntask: causal-lm\ndata: synthetic\nglobal_batch_size: 8\n",
            ("model: 'no-one/no-model'", "no network", "local folder"), 3),
    Mistake("data that are nowhere", WITHOUT_CODE + "data: no-one/no-data\n" + TOKENIZER,
            ("data.id", "'no-one/no-data'", "no network", "path:"), 3),
    in_data("a tokenizer that is nowhere", "reviews.jsonl", REVIEWS, "tokenizer: 'no-one/none'", "no network",
            more="tokenizer: no-one/none\n"),
    in_data("a column that is missing", "reviews.jsonl", REVIEWS.replace("text", "review"), "data.text_column",
            "They have: review, label", "text_column: review"),
    in_data("a named column that is missing", "{path: reviews.jsonl, label_column: stars}", REVIEWS,
            "data.label_column", "no column 'stars'", "They have: text, label"),
    in_data("an empty file", "reviews.jsonl", "", "reviews.jsonl", "has no samples", "at least 2"),
    in_data("one sample", "reviews.jsonl", '{"text": "good", "label": 1}\n', "has 1 sample", "at least 2"),
    in_data("a line that is no JSON", "reviews.jsonl", REVIEWS + "{\n", "reviews.jsonl, line 9", "no JSON"),
    in_data("one class", "reviews.jsonl", REVIEWS.replace("0", "1"), "data.label_column", "1 different value", "2 to"),
    in_data("labels that are no classes", "reviews.jsonl", REVIEWS.replace("0", "0.5"), "data.label_column", "0.5",
            "build function"),
    Mistake("an architecture that is none", SYNTHETIC.replace("bert", "berd"),
            ("config.model_type: 'berd'", "did you mean"), 3),
    Mistake("an entry that the architecture has not", SYNTHETIC.replace("hidden_size", "hiden_size", 1),
            ("config.hiden_size", "did you mean hidden_size"), 3),
    Mistake("a task that the model cannot do", SYNTHETIC.replace("sequence-classification", "seq2seq"),
            ("task: seq2seq does not go with a bert model", "sequence-classification"), 3),
    Mistake("heads that do not divide", SYNTHETIC.replace("num_attention_heads: 2", "num_attention_heads: 3"),
            ("16", "3", "config"), 3),
    Mistake("a GPU that is not there", SYNTHETIC + "target: {device: cuda}\n",
            ("target.device is cuda", "device: cpu"), 4),
    Mistake("more memory than there is", SYNTHETIC + "target: {memory: 900TiB, device: cpu}\n",
            ("target.memory is", "at most", "leave it out"), 4),
    Mistake("a knob of another device", SYNTHETIC + "target: {device: cpu}\nknobs: {precision: tf32}\n",
            ("knobs.precision", "tf32", "Name another value or leave the knob out"), 2),
    Mistake("an optimizer of another name", SYNTHETIC + "knobs: {optim: [adam]}\n",
            ("knobs.optim", "no optimizer of this name", "Name another"), 2),
    Mistake("attention of another name", SYNTHETIC + "target: {device: cpu}\nknobs: {attn_implementation: flash}\n",
            ("knobs.attn_implementation", "flash", "Name another value"), 2),
)  # fmt: skip

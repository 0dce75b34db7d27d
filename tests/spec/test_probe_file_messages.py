"""Probe files that are wrong, and what the user reads: file, line, key, value seen, values allowed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from perftune.errors import ProbeFileError
from perftune.records.probe import ProbeSpec
from perftune.spec import load_probe

Load = Callable[[str], ProbeSpec]
BUILD = "build: train.py:build\nglobal_batch_size: 32\n"
"""Two lines, so that what a row adds starts in line 3."""
MODEL = "model: org/name\ntask: causal-lm\nglobal_batch_size: 32\n"
"""Three lines, without data."""


def message(load: Load, text: str) -> str:
    with pytest.raises(ProbeFileError) as caught:
        load(text)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("added", "line", "key", "parts"),
    [
        # Keys.
        ("objectiv: cost", 3, "objectiv", ["unknown key", "Did you mean objective?"]),
        ("batch_size: 8", 3, "batch_size", ["Did you mean global_batch_size?"]),
        ("learning_rate: 1", 3, "learning_rate", ["belongs under training_arguments"]),
        ("lr: 5e-5", 3, "lr", ["belongs under training_arguments as learning_rate"]),
        ("training_arguments: {lr: 5e-5}", 3, "training_arguments.lr", ["Did you mean learning_rate?"]),
        ("memory: 4GiB", 3, "memory", ["belongs under target"]),
        ("precision: bf16", 3, "precision", ["belongs under knobs"]),
        ("target:\n  memori: 4GiB", 4, "target.memori", ["Did you mean memory?"]),
        ("budget:\n  minutes: 3\n  hours: 1", 5, "budget.hours", ["Allowed: trials or minutes"]),
        ("budget: {objective: cost}", 3, "budget.objective", ["belongs under the top level"]),
        ("target: {speed: 1}", 3, "target.speed", ["Allowed: device, count, memory"]),
        ("knobs:\n  optimizer: adamw_torch", 4, "knobs.optimizer", ["Did you mean optim?"]),
        ("knobs: {learning_rate: [1, 2]}", 3, "knobs.learning_rate", ["belongs under training_arguments"]),
        ("seed: 1\nseed: 2", 4, "seed", ["stands twice, first in line 3"]),
        # Types and bounds.
        ("objective: fast", 3, "objective", ['"fast"', "samples_per_second, tokens_per_second, peak_memory or cost"]),
        ("objective: peak_memroy", 3, "objective", ["Did you mean peak_memory?"]),
        ("objective: [cost]", 3, "objective", ['["cost"]', "samples_per_second"]),
        ("allow:\n- same-math\n- mixed-precison", 5, "allow[1]", ["Did you mean mixed-precision?"]),
        ("allow: []", 3, "allow", ["[]", "at least one"]),
        ("seed: 1.5", 3, "seed", ["1.5", "a whole number"]),
        ("seed: yes", 3, "seed", ['"yes"', "a whole number"]),
        ("seed: true", 3, "seed", ["true", "a whole number"]),
        ("seed: '1'", 3, "seed", ['"1"', "without quotes"]),
        ("seed: -1", 3, "seed", ["-1", "at least 0"]),
        ("name: 2024", 3, "name", ["2024", "text", "quotes"]),
        ("name: ../x", 3, "name", ['"../x"', "letters, digits"]),
        ("budget: 10", 3, "budget", ["10", "a mapping"]),
        ("budget: [1]", 3, "budget", ["[1]", "a mapping"]),
        ("budget: {trials: 0}", 3, "budget.trials", ["0 should be at least 1"]),
        ("budget: {minutes: -1}", 3, "budget.minutes", ["-1 should be more than 0"]),
        ("budget: {minutes: long}", 3, "budget.minutes", ['"long"', "a number"]),
        ("trust_remote_code: maybe", 3, "trust_remote_code", ['"maybe"', "true or false"]),
        ("loss_tolerance: 2", 3, "loss_tolerance", ["2 should be at most 1", "%"]),
        ("loss_tolerance: small", 3, "loss_tolerance", ['"small"', "a number"]),
        ("worthwhile: x%", 3, "worthwhile", ['"x%"', "10%"]),
        ("worthwhile: nan%", 3, "worthwhile", ['"nan%"']),
        # Target.
        ("target: {device: gpu}", 3, "target.device", ['"gpu"', "auto, cpu or cuda", "Did you mean cuda?"]),
        ("target: {count: 0}", 3, "target.count", ["0 should be at least 1"]),
        ("target: {headroom: 10}", 3, "target.headroom", ["10 should be less than 0.9", "%"]),
        ("target: {memory: 4}", 3, "target.memory", ["4 B", "did you mean 4GiB?"]),
        ("target: {memory: 4 gigs}", 3, "target.memory", ['"4 gigs"', "GiB"]),
        ("target: {memory: [4]}", 3, "target.memory", ["4GiB"]),
        (f"target: {{memory: {'9' * 400}GB}}", 3, "target.memory", ["more than"]),
        ("objective: cost", 3, "objective", ["price_per_hour"]),
        ("target: {count: 3}", 2, "global_batch_size", ["32", "3 devices", "30, 33", "1, 2, 4, 8, 16, 32"]),
        ("target: {count: 64}", 2, "global_batch_size", ["64 devices", "Possible near it: 64"]),
        # Knobs.
        ("knobs: {precision: [bf16, fp8]}", 3, "knobs.precision[1]", ['"fp8"', "fp32, tf32, bf16 or fp16"]),
        ("knobs: {precision: bf61}", 3, "knobs.precision", ['"bf61"', "Did you mean bf16?"]),
        ("knobs: {optim: []}", 3, "knobs.optim", ["at least one"]),
        ("knobs: {torch_compile: fast}", 3, "knobs.torch_compile", ['"fast"', "true or false"]),
        ("knobs: {dataloader_num_workers: -1}", 3, "knobs.dataloader_num_workers", ["-1", "at least 0"]),
        ("knobs: {activation_checkpointing: true, gradient_checkpointing: true}", 3, "knobs.gradient_checkpointing",
         ["older name of activation_checkpointing"]),
        ("knobs:\n  per_device_train_batch_size:\n    - 8\n    - 12", 6, "knobs.per_device_train_batch_size[1]",
         ["12 does not divide the global batch 32", "1, 2, 4, 8, 16, 32"]),
        ("knobs: {per_device_train_batch_size: 64}", 3, "knobs.per_device_train_batch_size", ["1, 2, 4, 8, 16, 32"]),
        ("knobs: {per_device_train_batch_size: 0}", 3, "knobs.per_device_train_batch_size", ["at least 1"]),
        # Batches of the user's own arguments.
        ("training_arguments: {per_device_train_batch_size: 12}", 3, "training_arguments.per_device_train_batch_size",
         ["12 does not divide the global batch 32. Possible: 1, 2, 4, 8, 16, 32"]),
        ("training_arguments:\n  per_device_train_batch_size: 8\n  gradient_accumulation_steps: 2", 4,
         "training_arguments.per_device_train_batch_size",
         ["8 × gradient_accumulation_steps 2 makes 16, not the global batch 32", "8 × 4", "1 × 32", "32 × 1"]),
        ("training_arguments: {gradient_accumulation_steps: 5}", 3, "training_arguments.gradient_accumulation_steps",
         ["5 does not divide", "1, 2, 4, 8, 16, 32"]),
        ("training_arguments: {per_device_train_batch_size: 0}", 3, "training_arguments.per_device_train_batch_size",
         ["0 should be at least 1"]),
        # Other arguments.
        ("training_arguments: [a]", 3, "training_arguments", ['["a"]', "a mapping"]),
        ("training_arguments: {learing_rate: 1}", 3, "training_arguments.learing_rate", ["mean learning_rate?"]),
        ("training_arguments: {learning_rate: fast}", 3, "training_arguments.learning_rate", ['"fast"', "a number"]),
        ("training_arguments: {bf16: maybe}", 3, "training_arguments.bf16", ['"maybe"', "true or false"]),
        ("training_arguments: {max_steps: 1.5}", 3, "training_arguments.max_steps", ["1.5", "a whole number"]),
        ("training_arguments: {evaluation_strategy: no}", 3, "training_arguments.evaluation_strategy",
         ["eval_strategy"]),
        ("training_arguments: {warmup_ratio: 0.1}", 3, "training_arguments.warmup_ratio", ["warmup_steps"]),
        ("training_arguments: {attn_implementation: sdpa}", 3, "training_arguments.attn_implementation",
         ["under knobs"]),
        ("training_arguments: {objective: cost}", 3, "training_arguments.objective", ["top level"]),
        ("training_arguments: {auto_find_batch_size: true}", 3, "training_arguments.auto_find_batch_size",
         ["true", "global batch"]),
        ("training_arguments: {deepspeed: ds.json}", 3, "training_arguments.deepspeed", ['"ds.json"', "DeepSpeed"]),
        ("training_arguments: {fsdp: full_shard}", 3, "training_arguments.fsdp", ['"full_shard"', "FSDP"]),
        ("training_arguments: {resume_from_checkpoint: ckpt}", 3, "training_arguments.resume_from_checkpoint",
         ['"ckpt"', "Leave it out"]),
        ("training_arguments: {accelerator_config: {split_batches: true}}", 3, "training_arguments.accelerator_config",
         ["split_batches"]),
        ("training_arguments: {accelerator_config: {gradient_accumulation_kwargs: {num_steps: 2}}}", 3,
         "training_arguments.accelerator_config", ["num_steps"]),
        ("training_arguments: {fp16: true, bf16: true}", 3, "training_arguments.fp16", ["both true"]),
        ("training_arguments: {gradient_checkpointing: true, activation_checkpointing: true}", 3,
         "training_arguments.gradient_checkpointing", ["older name"]),
        ("training_arguments: {use_cpu: true}", 3, "training_arguments.use_cpu", ["target: {device: cpu}"]),
        # Workload.
        ("task: causal-lm", 3, "task", ["does not go with build"]),
    ],
)  # fmt: skip
def test_one_thing_wrong(load: Load, folder: Path, added: str, line: int, key: str, parts: list[str]) -> None:
    text = message(load, BUILD + added + "\n")
    assert text.startswith(f"{folder / 'model.yaml'}, line {line}: {key}: ")
    assert "\n" not in text
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("text", "line", "key", "parts"),
    [
        (MODEL, 1, "data", ["is missing", "synthetic"]),
        ("model: org/name\ndata: synthetic\nglobal_batch_size: 8", 1, "task", ["is missing", "causal-lm", "seq2seq"]),
        ("model: org/name\ntask: causal-lm\ndata: synthetic", 1, "global_batch_size", ["is missing", "never changes"]),
        ("model: org/name\ntask: causal-lm\ndata: synthetic\nglobal_batch_size:", 4, "global_batch_size", ["missing"]),
        (MODEL + "data: synthetic\nconfig: {model_type: bert}", 5, "config", ["does not go with model"]),
        (MODEL + "data: rewiews.jsonl", 4, "data", ["there is no file", "Did you mean reviews.jsonl?"]),
        (MODEL + "data: nowhere/x.csv", 4, "data", ["there is no folder"]),
        (MODEL + "data: reviews.tsv", 4, "data", ['"reviews.tsv"', ".jsonl, .json, .csv, .parquet or .txt"]),
        (MODEL + "data: a/b/c", 4, "data", ['"a/b/c"', "nor `synthetic`"]),
        (MODEL + "data: ''", 4, "data", ['""', "the id of a data set"]),
        (MODEL.replace("causal-lm", "image-classification") + "data: synthetic\nobjective: tokens_per_second", 5,
         "objective", ["samples_per_second"]),
        ("model: {config: {}}\ntask: causal-lm\ndata: synthetic\nglobal_batch_size: 8", 1, "model", ["`config:`"]),
        (BUILD + '"\\e[31m\\n": 1', 3, '"\\u001b[31m\\n"', ["unknown key"]),
        (BUILD + 'objective: "\\e[31m\\x9b"', 3, "objective", ["\\u001b[31m\\u009b"]),
        (BUILD + f"{'k' * 200}: 1", 3, '"' + "k" * 58 + "…", ["unknown key"]),
        (MODEL + "data: 3", 4, "data", ["3 should be the id of a data set", "a mapping"]),
        (MODEL + "data: {}", 4, "data", ["id, path and synthetic"]),
        (MODEL + "data: {id: imdb, path: reviews.jsonl}", 4, "data.path", ["does not go with id"]),
        (MODEL + "data: {path: my_model}", 4, "data.path", ["is a folder"]),
        (MODEL + "data: {path: reviews.jsonl, eval_split: test}", 4, "data.eval_split", ["no splits"]),
        (MODEL + "data: {synthetic: {}, split: x}", 4, "data.split", ["synthetic"]),
        (MODEL + "data:\n  mean_length: 3\n  id: x", 5, "data.mean_length", ["belongs under data.synthetic"]),
        (MODEL + "data: {synthetic: {distribution: normal}}", 4, "data.synthetic.distribution",
         ['"normal"', "fixed, uniform or lognormal", "Did you mean lognormal?"]),
        (MODEL + "data: {synthetic: {sigma: 0}}", 4, "data.synthetic.sigma", ["more than 0"]),
        ("model: ./nowhere\ntask: causal-lm\ndata: synthetic\nglobal_batch_size: 8", 1, "model", ["no hub id"]),
        ("model: train.py\ntask: causal-lm\ndata: synthetic\nglobal_batch_size: 8", 1, "model", ["is a file"]),
        ("model: x\ntask: casual-lm\ndata: synthetic\nglobal_batch_size: 8", 2, "task",
         ['"casual-lm"', "Did you mean causal-lm?", "image-classification"]),
        ("config: {}\ntask: causal-lm\ndata: synthetic\nglobal_batch_size: 8", 1, "config.model_type", ["is missing"]),
        ("config:\n  model_type: 3\ntask: causal-lm\ndata: synthetic\nglobal_batch_size: 8", 2, "config.model_type",
         ["3 should be"]),
        ("task: causal-lm\nconfig: {model_type: bert}\ndata: reviews.jsonl\nglobal_batch_size: 8", 1, "tokenizer",
         ["is missing"]),
        ("build: train.py\nglobal_batch_size: 8", 1, "build", ['"train.py"', "train.py:build"]),
        ("build: train.py:lambda\nglobal_batch_size: 8", 1, "build", ["train.py:build"]),
        ("build: trian.py:build\nglobal_batch_size: 8", 1, "build", ["no file", "Did you mean train.py?"]),
        ("build: train.py:biuld\nglobal_batch_size: 8", 1, "build", ["has no biuld", "Did you mean build?"]),
        ("build: train.py:xyz\nglobal_batch_size: 8", 1, "build", ["has no xyz", "def xyz(args)"]),
        ("build: reviews.tsv:build\nglobal_batch_size: 8", 1, "build", ["should be Python"]),
        (f"build: {'x' * 5000}.py:build\nglobal_batch_size: 8", 1, "build", ["no file"]),
        ("build: ~nobody_of_this_name/x.py:build\nglobal_batch_size: 8", 1, "build", ["no path"]),
        ("build: train.py:build\nglobal_batch_size: 0", 2, "global_batch_size", ["0 should be at least 1"]),
        ("build: train.py:build\nglobal_batch_size: 9999999999", 2, "global_batch_size", ["at most 1048576"]),
        ("build: train.py:build\nglobal_batch_size: 32.0", 2, "global_batch_size", ["32.0", "a whole number"]),
        (BUILD + "target: {count: 2}\ntraining_arguments: {per_device_train_batch_size: 7}", 4,
         "training_arguments.per_device_train_batch_size",
         ["7 does not divide the global batch 32 / 2 devices = 16. Possible: 1, 2, 4, 8, 16"]),
    ],
)  # fmt: skip
def test_one_thing_wrong_in_a_whole_file(load: Load, text: str, line: int, key: str, parts: list[str]) -> None:
    said = message(load, text + "\n")
    assert f", line {line}: {key}: " in said
    assert "\n" not in said
    for part in parts:
        assert part in said


def test_a_secret_is_not_repeated(load: Load) -> None:
    said = message(load, BUILD + "training_arguments: {hub_token: hf_secret}\n")
    assert "hf_secret" not in said
    assert "HF_TOKEN" in said


def test_many_possible_sizes_are_cut_to_the_nearest(load: Load) -> None:
    said = message(
        load, "build: train.py:build\nglobal_batch_size: 720720\nknobs: {per_device_train_batch_size: 1000}\n"
    )
    assert "990, 1001" in said
    assert "(and 216 more)" in said


def test_everything_wrong_is_told_at_once_in_the_order_of_the_file(load: Load, folder: Path) -> None:
    said = message(
        load,
        "build: nothing.py:build\nobjective: speed\nglobal_batch_size: 30\n"
        "training_arguments:\n  auto_find_batch_size: true\n  lr: 3\n"
        "target: {count: 4}\nknobs:\n  precision: [fp32, fp64]\nseed: 1\nseed: 2\nbudjet: {}\n",
    )
    first, *others = said.splitlines()
    assert first == f"{folder / 'model.yaml'} has 8 problems:"
    keys = ["build", "objective", "global_batch_size", "training_arguments.auto_find_batch_size",
            "training_arguments.lr", "knobs.precision[1]", "seed", "budjet"]  # fmt: skip
    lines = [1, 2, 3, 5, 6, 9, 11, 12]
    starts = [f"  line {line}: {key}: " for line, key in zip(lines, keys, strict=True)]
    assert [other[: len(start)] for other, start in zip(others, starts, strict=True)] == starts


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["is empty", "perftune init"]),
        (b"# only a comment\n\n", ["is empty"]),
        (b"- a\n- b\n", ["is a list"]),
        (b"just words\n", ["is a single value"]),
        (b"a: 1\nb: [\n", ["line 3", "is not YAML"]),
        (b"a: 1\nb: \xff\xfe\n", ["line 2", "not UTF-8"]),
        ("a: 1\n".encode("utf-16"), ["not UTF-8"]),
        (b"\x00\x01", ["line 1", "U+0000"]),
        (b"x" * 3_000_000, ["characters"]),
        (b"{}", ["says not what to train", "global_batch_size: is missing"]),
    ],
)
def test_files_that_are_no_probe(folder: Path, content: bytes, parts: list[str]) -> None:
    path = folder / "model.yaml"
    path.write_bytes(content)
    with pytest.raises(ProbeFileError) as caught:
        load_probe(path)
    for part in [str(path), *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "part"),
    [("nowhere.yaml", "no such file"), ("my_model", "is a folder"), ("train.py/x.yaml", "cannot be read")],
)
def test_places_that_are_no_file(folder: Path, name: str, part: str) -> None:
    with pytest.raises(ProbeFileError, match=part):
        load_probe(folder / name)

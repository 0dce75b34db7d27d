"""Every task trains for real: a tiny model from an inline config, on synthetic data and on local files."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Trainer, TrainingArguments

from perftune.records.probe import ModelWorkload, RealData, SyntheticData, Task
from perftune.workloads.tasks import build_from_model

TINY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
BERT = {"model_type": "bert", **TINY}
LLAMA = {"model_type": "llama", **TINY}
T5 = {"model_type": "t5", "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
VIT = {"model_type": "vit", **TINY, "patch_size": 4}
MODELS = {
    Task.CAUSAL_LM: LLAMA,
    Task.MASKED_LM: BERT,
    Task.SEQUENCE_CLASSIFICATION: BERT,
    Task.TOKEN_CLASSIFICATION: BERT,
    Task.SEQ2SEQ: T5,
    Task.IMAGE_CLASSIFICATION: VIT,
}
WORDS = ["shall", "i", "compare", "thee", "to", "a", "summer", "day", "thou", "art", "more", "lovely"]


def arguments(tmp_path: Path, **values: Any) -> TrainingArguments:
    fields = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "max_steps": 2} | values
    return TrainingArguments(
        output_dir=str(tmp_path / "output"),
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        logging_steps=1,
        **fields,
    )


def build(workload: ModelWorkload, args: TrainingArguments, **options: Any) -> Trainer:
    settings = {"attn_implementation": None, "trust_remote_code": False, "seed": 0} | options
    return build_from_model(workload, args, **settings)


def train(workload: ModelWorkload, tmp_path: Path, **values: Any) -> Trainer:
    trainer = build(workload, arguments(tmp_path, **values))
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    result = trainer.train()
    assert trainer.state.global_step == trainer.args.max_steps
    assert 0 < result.training_loss < 100
    assert any(not torch.equal(before[name], value) for name, value in trainer.model.named_parameters())
    assert 0 < trainer.evaluate()["eval_loss"] < 100
    return trainer


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "eos_token": "[SEP]", "mask_token": "[MASK]"}
    inner = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.train_from_iterator([WORDS], trainers.WordLevelTrainer(special_tokens=list(special.values())))
    PreTrainedTokenizerFast(tokenizer_object=inner, **special).save_pretrained(folder)
    return folder


def make_rows(task: Task, num_rows: int = 24) -> list[dict[str, Any]]:
    draw = random.Random(0)
    rows: list[dict[str, Any]] = []
    for number in range(num_rows):
        words = draw.choices(WORDS, k=draw.randint(3, 12))
        label = ["comedy", "tragedy", "history"][number % 3]
        if task is Task.TOKEN_CLASSIFICATION:
            rows.append({"tokens": words, "tags": [["short", "long"][len(word) > 3] for word in words]})
        elif task is Task.IMAGE_CLASSIFICATION:
            pixels = [[draw.randint(0, 255) for _ in range(8)] for _ in range(8)]
            rows.append({"image": pixels, "label": number % 2})
        else:
            rows.append({"text": " ".join(words), "label": label, "target": " ".join(words[:2])})
    return rows


def write(rows: list[dict[str, Any]], path: Path) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".txt":
        path.write_text("\n\n".join(row["text"] for row in rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def real_workload(task: Task, path: Path, tokenizer: Path, **data: Any) -> ModelWorkload:
    return ModelWorkload(
        config=MODELS[task],
        task=task,
        tokenizer=None if task is Task.IMAGE_CLASSIFICATION else str(tokenizer),
        data=RealData(path=str(path), max_length=16, **data),
    )


@pytest.mark.parametrize("task", Task)
def test_every_task_trains_on_synthetic_data(task: Task, tmp_path: Path) -> None:
    small = {} if task is Task.IMAGE_CLASSIFICATION else {"vocab_size": 50}
    data = SyntheticData(num_samples=20, mean_length=8, max_length=16, image_size=8, num_classes=3)
    trainer = train(ModelWorkload(config=MODELS[task] | small, task=task, data=data), tmp_path)
    samples = [trainer.train_dataset[index] for index in range(len(trainer.train_dataset))]
    assert len(samples) == 20
    sizes = {len(sample["pixel_values" if task is Task.IMAGE_CLASSIFICATION else "input_ids"]) for sample in samples}
    assert sizes == {3} if task is Task.IMAGE_CLASSIFICATION else len(sizes) > 1 and max(sizes) <= 16


@pytest.mark.parametrize("task", Task)
def test_every_task_trains_on_json_lines(task: Task, tmp_path: Path, tokenizer_folder: Path) -> None:
    path = write(make_rows(task), tmp_path / "data.jsonl")
    trainer = train(real_workload(task, path, tokenizer_folder), tmp_path)
    assert (len(trainer.train_dataset), len(trainer.eval_dataset)) == (23, 1)


@pytest.mark.parametrize(
    ("task", "suffix"),
    [
        (Task.SEQUENCE_CLASSIFICATION, ".csv"),
        (Task.SEQUENCE_CLASSIFICATION, ".json"),
        (Task.TOKEN_CLASSIFICATION, ".parquet"),
        (Task.SEQ2SEQ, ".csv"),
        (Task.CAUSAL_LM, ".txt"),
    ],
)
def test_every_kind_of_file_trains(task: Task, suffix: str, tmp_path: Path, tokenizer_folder: Path) -> None:
    path = write(make_rows(task), tmp_path / f"data{suffix}")
    trainer = train(real_workload(task, path, tokenizer_folder), tmp_path)
    assert len(trainer.train_dataset) == 23


def test_a_saved_model_trains_from_its_folder(tmp_path: Path, tokenizer_folder: Path) -> None:
    task = Task.SEQUENCE_CLASSIFICATION
    path = write(make_rows(task), tmp_path / "data.jsonl")
    first = build(real_workload(task, path, tokenizer_folder), arguments(tmp_path))
    first.save_model(str(tmp_path / "saved"))
    workload = ModelWorkload(model=str(tmp_path / "saved"), task=task, data=RealData(path=str(path), max_length=16))
    again = build(workload, arguments(tmp_path), seed=7)
    assert torch.equal(again.model.get_input_embeddings().weight, first.model.get_input_embeddings().weight)
    assert again.model.config.id2label == {0: "comedy", 1: "history", 2: "tragedy"}
    again.train()
    assert again.state.global_step == 2


@pytest.mark.parametrize(
    "task", [Task.SEQUENCE_CLASSIFICATION, Task.TOKEN_CLASSIFICATION, Task.SEQ2SEQ, Task.CAUSAL_LM]
)
def test_gradient_does_not_depend_on_the_micro_batch(task: Task, tmp_path: Path) -> None:
    data = SyntheticData(num_samples=16, mean_length=8, max_length=16, num_classes=3)
    off = {"dropout_rate": 0.0} if task is Task.SEQ2SEQ else {"attention_dropout": 0.0}
    if MODELS[task] is BERT:
        off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    workload = ModelWorkload(config=MODELS[task] | off | {"vocab_size": 50}, task=task, data=data)
    norms = []
    for micro_batch in (8, 2):
        trainer = build(
            workload,
            arguments(
                tmp_path,
                per_device_train_batch_size=micro_batch,
                gradient_accumulation_steps=8 // micro_batch,
                max_steps=1,
            ),
        )
        trainer.train()
        norms.append(next(entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry))
    assert norms[1] == pytest.approx(norms[0], rel=1e-3)


def test_attention_implementation_reaches_the_model(tmp_path: Path) -> None:
    workload = ModelWorkload(config=LLAMA | {"vocab_size": 50}, task=Task.CAUSAL_LM, data=SyntheticData(num_samples=4))
    for name in ("eager", "sdpa"):
        trainer = build(workload, arguments(tmp_path), attn_implementation=name)
        assert trainer.model.config._attn_implementation == name


def test_seed_decides_the_weights(tmp_path: Path) -> None:
    workload = ModelWorkload(config=LLAMA | {"vocab_size": 50}, task=Task.CAUSAL_LM, data=SyntheticData(num_samples=4))
    first, same, other = (build(workload, arguments(tmp_path), seed=seed).model.lm_head.weight for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_nothing_is_written_while_data_are_read(
    tmp_path: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(make_rows(Task.CAUSAL_LM), tmp_path / "data.jsonl")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    build(real_workload(Task.CAUSAL_LM, path, tokenizer_folder), arguments(tmp_path))
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["data.jsonl", "output"]

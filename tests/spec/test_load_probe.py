"""Probe files that are right, and the ProbeSpec that each becomes."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perftune.records.candidate import Change
from perftune.records.probe import Objective, ProbeSpec, RealData, SyntheticData, Target, Task
from perftune.spec import load_probe
from perftune.units import GIB

Load = Callable[[str], ProbeSpec]
BUILD = "build: train.py:build\nglobal_batch_size: 32\n"


def test_the_shortest_file_has_four_lines(load: Load, folder: Path) -> None:
    probe = load("model: org/name\ntask: causal-lm\ndata: synthetic\nglobal_batch_size: 64\n")
    assert probe.workload is not None
    assert probe.workload.model == "org/name"
    assert probe.workload.task is Task.CAUSAL_LM
    assert probe.workload.data == SyntheticData()
    assert probe.global_batch_size == 64
    assert probe.name == "model"
    assert probe.source_path == str(folder / "model.yaml")
    defaults = ProbeSpec(name="x", source_path="x", global_batch_size=64)
    kept = {"name", "source_path", "workload"}
    assert probe.model_dump(exclude=kept) == defaults.model_dump(exclude=kept)


def test_build_is_absolute_with_a_digest(load: Load, folder: Path) -> None:
    probe = load(BUILD)
    assert probe.build == f"{folder / 'train.py'}:build"
    assert probe.build_sha256 == hashlib.sha256((folder / "train.py").read_bytes()).hexdigest()
    assert probe.workload is None


@pytest.mark.parametrize("build", ["train.py:other", "./train.py:build", "dynamic.py:build", "broken.py:build"])
def test_build_functions_that_a_look_at_the_file_cannot_refuse(load: Load, build: str) -> None:
    assert str(load(f"build: {build}\nglobal_batch_size: 1\n").build).endswith(build.removeprefix("./"))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("nyu-mll/glue", {"id": "nyu-mll/glue"}),
        ("reviews.jsonl", {"path": "reviews.jsonl"}),
        ("{path: reviews.jsonl, text_column: t, max_length: 64}",
         {"path": "reviews.jsonl", "text_column": "t", "max_length": 64}),
        ("{id: imdb, name: plain, split: test, eval_split: validation, num_samples: 10_000}",
         {"id": "imdb", "name": "plain", "split": "test", "eval_split": "validation", "num_samples": 10000}),
    ],
)  # fmt: skip
def test_real_data(load: Load, folder: Path, data: str, expected: dict[str, Any]) -> None:
    probe = load(f"model: my_model\ntask: sequence-classification\ndata: {data}\nglobal_batch_size: 8\n")
    if "path" in expected:
        expected = {**expected, "path": str(folder / expected["path"])}
    assert probe.workload is not None
    assert probe.workload.data == RealData(**expected)
    assert probe.workload.model == str(folder / "my_model")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("{synthetic: {distribution: fixed, mean_length: 32}}", SyntheticData(distribution="fixed", mean_length=32)),
        ("\n  synthetic:", SyntheticData()),
    ],
)
def test_synthetic_data(load: Load, data: str, expected: SyntheticData) -> None:
    probe = load(f"config: {{model_type: vit}}\ntask: image-classification\ndata: {data}\nglobal_batch_size: 8\n")
    assert probe.workload is not None
    assert probe.workload.data == expected
    assert probe.workload.config == {"model_type": "vit"}


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("target: {memory: 4GiB}", "target", Target(memory_bytes=4 * GIB)),
        ("target: {memory: 4294967296}", "target", Target(memory_bytes=4 * GIB)),
        ("target: {headroom: 25%, count: 2}", "target", Target(headroom=0.25, count=2)),
        ("target: {headroom: 0.25, price_per_hour: 3}", "target", Target(headroom=0.25, price_per_hour=3.0)),
        ("target:", "target", Target()),
        ("loss_tolerance: 5%", "loss_tolerance", 0.05),
        ("worthwhile: 0", "worthwhile", 0.0),
        ("allow: same-math", "allow", (Change.SAME_MATH,)),
        ("allow: [same-math, data-order, same-math]", "allow", (Change.SAME_MATH, Change.DATA_ORDER)),
        ("objective: peak_memory", "objective", Objective.PEAK_MEMORY),
        ("trust_remote_code: yes", "trust_remote_code", True),
        ("name: my-run.2", "name", "my-run.2"),
        ("seed: 7", "seed", 7),
        ("knobs: {precision: bf16}", "knobs", {"precision": ("bf16",)}),
        ("knobs: {precision: [bf16, fp32, bf16]}", "knobs", {"precision": ("bf16", "fp32")}),
        ("knobs: {gradient_checkpointing: [no, on]}", "knobs", {"activation_checkpointing": (False, True)}),
        ("knobs: {torch_empty_cache_steps: [null, 4]}", "knobs", {"torch_empty_cache_steps": (None, 4)}),
        ("knobs: {per_device_train_batch_size: [2, 32]}", "knobs", {"per_device_train_batch_size": (2, 32)}),
        ("knobs: {optim: my_own_optimizer}", "knobs", {"optim": ("my_own_optimizer",)}),
        ("training_arguments: {learning_rate: 5e-5}", "training_arguments", {"learning_rate": 5e-5}),
        ("training_arguments: {bf16: yes, tf32: off}", "training_arguments", {"bf16": True, "tf32": False}),
        ("training_arguments: {eval_strategy: no}", "training_arguments", {"eval_strategy": "no"}),
        ("training_arguments: {auto_find_batch_size: no}", "training_arguments", {"auto_find_batch_size": False}),
        ("training_arguments: {logging_steps: 10, save_steps: 0.1}", "training_arguments",
         {"logging_steps": 10, "save_steps": 0.1}),
        ("training_arguments: {per_device_train_batch_size: 8, gradient_accumulation_steps: 4}", "training_arguments",
         {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}),
        ("training_arguments: {use_cpu: true}\ntarget: {device: cpu}", "target", Target(device="cpu")),
    ],
)  # fmt: skip
def test_keys(load: Load, text: str, name: str, value: object) -> None:
    assert getattr(load(BUILD + text + "\n"), name) == value


def test_the_name_comes_from_the_file_and_fits_a_folder(folder: Path) -> None:
    path = folder / "my model (2).yaml"
    path.write_text(BUILD)
    assert load_probe(path).name == "my-model-2"


def test_a_relative_path_is_resolved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "model.yaml").write_text(BUILD)
    monkeypatch.chdir(folder.parent)
    probe = load_probe(Path(folder.name) / "model.yaml")
    assert probe.build == f"{folder / 'train.py'}:build"
    assert probe.source_path == str(folder / "model.yaml")


def test_a_byte_order_mark_is_passed_over(folder: Path) -> None:
    path = folder / "model.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + BUILD.encode())
    assert load_probe(path).global_batch_size == 32


def test_the_record_survives_json(load: Load) -> None:
    probe = load(
        "config: {model_type: bert, id2label: {0: a, 1: b}}\ntask: token-classification\ndata: imdb\ntokenizer: gpt2\n"
        "global_batch_size: 12\nknobs: {torch_compile: [no, yes]}\ntarget: {memory: 3GB}\n"
    )
    assert ProbeSpec.model_validate_json(probe.model_dump_json()) == probe

"""A build function and TrainingArguments objects, as Python has them, to a ProbeSpec."""

import dataclasses
import functools
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import Seq2SeqTrainingArguments, TrainingArguments

from perftune.errors import ProbeFileError
from perftune.records.candidate import Change
from perftune.records.probe import Objective, Target
from perftune.spec import load_probe, probe_from_python
from perftune.spec.argument_fields import argument_fields
from perftune.spec.python import DEFAULT_MICRO_BATCH, MIRRORED, plain
from perftune.units import GIB


def build(args: TrainingArguments) -> None:
    """Stands in for a user's function; it is never called here."""


@functools.wraps(build)
def decorated(args: TrainingArguments) -> None:
    build(args)


class Builder:
    def method(self, args: TrainingArguments) -> None: ...

    def __call__(self, args: TrainingArguments) -> None: ...


def test_the_fields_that_are_read_are_those_of_the_installed_transformers() -> None:
    assert argument_fields().keys() == {field.name for field in dataclasses.fields(TrainingArguments)}
    assert TrainingArguments().per_device_train_batch_size == DEFAULT_MICRO_BATCH
    assert MIRRORED.keys() | set(MIRRORED.values()) <= argument_fields().keys()


def test_a_function_and_arguments() -> None:
    args = TrainingArguments(
        output_dir="out",
        learning_rate=1e-3,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=3,
        lr_scheduler_type="cosine",
        activation_checkpointing=True,
        optim="adafactor",
        report_to="none",
    )
    probe = probe_from_python(build, args)
    assert probe.build == f"{Path(__file__).absolute()}:build"
    assert probe.build_sha256 is not None
    assert probe.source_path == "<python>"
    assert probe.name == "test_probe_from_python"
    assert probe.global_batch_size == 12
    assert probe.training_arguments == {
        "output_dir": "out",
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 3,
        "lr_scheduler_type": "cosine",
        "activation_checkpointing": True,
        "optim": "adafactor",
    }


def test_arguments_that_say_nothing() -> None:
    for args in (None, {}, TrainingArguments()):
        probe = probe_from_python(build, args)
        assert probe.training_arguments == {}
        assert probe.global_batch_size == 8


def test_a_subclass_may_set_what_trainingarguments_have() -> None:
    probe = probe_from_python(build, Seq2SeqTrainingArguments(weight_decay=0.1))
    assert probe.training_arguments == {"weight_decay": 0.1}
    with pytest.raises(ProbeFileError, match="predict_with_generate: no field of TrainingArguments"):
        probe_from_python(build, Seq2SeqTrainingArguments(predict_with_generate=True))


def test_options_are_the_keys_of_the_file() -> None:
    probe = probe_from_python(
        build,
        {"learning_rate": 0.1, "per_device_train_batch_size": 2},
        target={"memory": "4GiB", "count": 3},
        knobs={"precision": ("fp32", "bf16")},
        allow=(Change.SAME_MATH,),
        objective=Objective.PEAK_MEMORY,
        name="mine",
    )
    assert probe.global_batch_size == 6
    assert probe.target == Target(memory_bytes=4 * GIB, count=3)
    assert probe.knobs == {"precision": ("fp32", "bf16")}
    assert probe.allow == (Change.SAME_MATH,)
    assert probe.objective is Objective.PEAK_MEMORY
    assert probe.name == "mine"


def test_the_same_declaration_has_the_same_digest_from_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "model.yaml").write_text(
        "build: train.py:build\nglobal_batch_size: 16\ntraining_arguments: {learning_rate: 1e-3}\n"
    )
    probe = probe_from_python("train.py:build", TrainingArguments(learning_rate=1e-3), global_batch_size=16)
    assert probe.sha256 == load_probe(folder / "model.yaml").sha256
    assert probe.name == "train"


def test_a_decorated_function_is_found_where_it_was_written() -> None:
    assert probe_from_python(decorated).build == f"{Path(__file__).absolute()}:build"


def nested() -> Callable[[Any], None]:
    def inner(args: Any) -> None: ...

    return inner


def typed_in() -> Callable[[Any], None]:
    names: dict[str, Any] = {}
    exec(compile("def build(args): ...", "<stdin>", "exec"), names)
    function: Callable[[Any], None] = names["build"]
    return function


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (lambda args: None, "is a lambda"),
        (nested(), "not at the top level"),
        (Builder.method, "not at the top level"),
        (Builder(), "no plain function"),
        (functools.partial(build, None), "no plain function"),
        (print, "no plain function"),
        (typed_in(), "lies in no file"),
    ],
)
def test_functions_that_a_trial_cannot_import(function: Any, part: str) -> None:
    with pytest.raises(ProbeFileError, match=part) as caught:
        probe_from_python(function)
    assert "top level of a .py file" in str(caught.value)


@pytest.mark.parametrize(
    ("args", "options", "parts"),
    [
        (3, {}, ["args: 3", "a TrainingArguments or a dict"]),
        (TrainingArguments, {}, ["a TrainingArguments or a dict"]),
        ({"learing_rate": 1}, {}, ["training_arguments.learing_rate", "Did you mean learning_rate?"]),
        ({"learning_rate": float("nan")}, {}, ["training_arguments.learning_rate", "finite number"]),
        ({"optim_args": object()}, {}, ["training_arguments.optim_args", "cannot be written"]),
        ({"per_device_train_batch_size": 0}, {}, ["global_batch_size", "at least 1"]),
        ({"per_device_train_batch_size": 5}, {"global_batch_size": 8}, ["5 does not divide the global batch 8"]),
        ({}, {"global_batch_size": "8"}, ["global_batch_size", '"8"', "a whole number"]),
        ({}, {"objektive": "cost"}, ["objektive", "unknown option", "Did you mean objective?"]),
        ({}, {"model": "gpt2"}, ["model", "does not go with build", "probe file"]),
        ({}, {"training_arguments": {}}, ["training_arguments: give them as args"]),
        ({}, {"target": {"count": "many"}}, ["count"]),
        ({}, {"knobs": {"optim": [object()]}}, ["knobs", "cannot be written"]),
        ({}, {"objective": "speed", "seed": -1}, ["has 2 problems", "  objective: ", "  seed: "]),
    ],
)
def test_what_is_refused(args: Any, options: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ProbeFileError) as caught:
        probe_from_python(build, args, **options)
    for part in ["<python>", *parts]:
        assert part in str(caught.value)


def test_a_path_of_a_function_that_is_not_there() -> None:
    with pytest.raises(ProbeFileError, match="no file"):
        probe_from_python("nowhere_at_all.py:build")


class Color(Enum):
    RED = "red"


def test_plain_values() -> None:
    assert plain({"a": (1, Color.RED), Color.RED: Path("x") / "y"}) == {"a": [1, "red"], "red": "x/y"}
    assert plain(np.float32(0.5)) == 0.5
    assert type(plain(np.int64(3))) is int
    with pytest.raises(ValueError, match="inf should be a finite number"):
        plain(np.float64("inf"))
    for value in (object(), {1, 2}, b"x", "\ud800"):
        with pytest.raises(ValueError, match="cannot be written"):
            plain(value)

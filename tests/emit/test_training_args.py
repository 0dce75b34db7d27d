"""The files that a user trains with: what they hold, that they load, and that nothing breaks out of a comment."""

import json
from pathlib import Path

import pytest
import yaml

from perftune.emit import training_args_json, training_args_yaml
from perftune.emit.comments import comment
from perftune.records.recommendation import Decision, Interval, PairedComparison, TunedLine
from tests.studies import OWN, TUNED, kept_study, recommendation, tuned_study

HOSTILE = [
    "a\nseed: 1",
    "a\r\nseed: 1",
    "a\x85seed: 1",
    "a\u2028seed: 1",
    "a\u2029seed: 1",
    "\x1b[31mred",
    "\ud800",
    "# x",
]


def test_the_file_holds_the_arguments_and_nothing_else() -> None:
    study = tuned_study()
    assert study.recommendation is not None
    assert yaml.safe_load(training_args_yaml(study)) == study.recommendation.arguments
    assert json.loads(training_args_json(study)) == study.recommendation.arguments


def test_transformers_reads_it_as_it_is(tmp_path: Path) -> None:
    from transformers import HfArgumentParser, TrainingArguments

    arguments = recommendation().arguments | {"use_cpu": True, "output_dir": str(tmp_path / "out")}
    for name, text in (
        ("a.yaml", training_args_yaml(tuned_study(arguments=arguments))),
        ("a.json", training_args_json(tuned_study(arguments=arguments))),
    ):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        parser = HfArgumentParser(TrainingArguments)
        (read,) = parser.parse_yaml_file(str(path)) if name.endswith("yaml") else parser.parse_json_file(str(path))
        assert read.per_device_train_batch_size == 16
        assert read.gradient_accumulation_steps == 2
        assert read.bf16 is True
        assert read.learning_rate == OWN["learning_rate"]
        assert read.lr_scheduler_kwargs == OWN["lr_scheduler_kwargs"]


@pytest.mark.parametrize(
    "said",
    [
        "perftune 0.1.0",
        "2026-11-24T01:02:03+00:00",
        "AMD EPYC 7B13, 4 cores",
        "torch 2.13.0, transformers 5.23.0",
        "Probe: classifier, sha256 ",
        "16 micro x 2 accumulation x 1 devices = 32",
        "77.6 samples/s -> 133 samples/s",
        "1.71 times the throughput (1.66 to 1.77), 95 % interval, 2 paired runs",
        "1.36 GiB peak of 2.00 GiB, 660.00 MiB of headroom",
        "trial 13",
        'attn_implementation="sdpa"',
    ],
)
def test_comments_say_where_it_comes_from(said: str) -> None:
    comments = [line for line in training_args_yaml(tuned_study()).splitlines() if line.startswith("#")]
    assert any(said in line for line in comments)


def test_the_reason_stands_above_its_line() -> None:
    lines = training_args_yaml(tuned_study()).splitlines()
    at = lines.index("bf16: true")
    assert lines[at - 2] == "# 1.44 times as fast with it as without (1.40 to 1.49), 90.00 MiB less at peak"
    assert lines[at - 1] == "# Yours: False."


def test_environment_is_said_as_a_shell_takes_it() -> None:
    text = training_args_yaml(tuned_study(environment={"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True; rm x"}))
    assert "#     export PYTORCH_CUDA_ALLOC_CONF='expandable_segments:True; rm x'\n" in text


def test_keep_yours_says_so_and_changes_nothing() -> None:
    text = training_args_yaml(kept_study())
    assert text.startswith("# Keep yours")
    assert "# Your own arguments, unchanged\n" in text
    assert "# Tuned" not in text
    assert yaml.safe_load(text) == {**OWN, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}


def test_not_decided_says_what_it_would_take_and_changes_nothing() -> None:
    needs = {"best_so_far": TUNED, "chance_better": 0.9, "needs": "about 4 more minutes"}
    text = training_args_yaml(kept_study(decision=Decision.NOT_DECIDED, **needs))
    assert text.startswith("# Not decided: micro-batch 16, bf16")
    assert "about 4 more minutes would tell" in text.replace("\n# ", " ")
    assert "# These are your own TrainingArguments.\n" in text
    assert yaml.safe_load(text) == {**OWN, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}


def test_a_partial_answer_says_that_it_was_not_checked() -> None:
    assert "passed no final check" in training_args_yaml(tuned_study(final_trial=None)).splitlines()[0]


def test_one_pair_has_no_interval() -> None:
    ratio = Interval(value=1.7, low=0.0, high=float("inf"))
    text = training_args_yaml(tuned_study(comparison=PairedComparison(ratio=ratio, num_pairs=1, pairs=((7, 8),))))
    assert "1.70 times the throughput, from one paired run" in text
    assert "inf" not in text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_breaks_out_of_a_comment(hostile: str) -> None:
    line = TunedLine(field="bf16", value=True, user_value=hostile, reason=hostile)
    study = tuned_study(
        hostile,
        lines=(line,),
        attn_implementation=hostile,
        environment={"A": hostile},
        arguments={"bf16": True, "output_dir": hostile.replace("\ud800", "")},
    )
    text = training_args_yaml(study)
    assert yaml.safe_load(text) == {"bf16": True, "output_dir": hostile.replace("\ud800", "")}
    assert text.isascii()
    assert all(c == "\n" or c.isprintable() for c in text)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_every_line_of_a_comment_is_one(hostile: str) -> None:
    assert all(line.startswith("#") for line in comment(hostile * 40).splitlines())


def test_same_study_same_bytes() -> None:
    assert training_args_yaml(tuned_study()) == training_args_yaml(tuned_study())


@pytest.mark.parametrize("emit", [training_args_yaml, training_args_json])
def test_an_unfinished_study_has_no_file(emit: object) -> None:
    unfinished = tuned_study().model_copy(update={"recommendation": None})
    assert callable(emit)
    with pytest.raises(ValueError, match="no recommendation"):
        emit(unfinished)

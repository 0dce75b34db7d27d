"""A thousand probe files with something changed: each loads or is refused with one message, nothing else happens."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perftune.errors import ProbeFileError
from perftune.records.probe import ProbeSpec
from perftune.spec import load_probe, template

FULL = """\
name: all
build: train.py:build
training_arguments: {learning_rate: 5e-5, per_device_train_batch_size: 8, eval_strategy: no, bf16: yes}
global_batch_size: 32
target: {device: cpu, count: 1, memory: 4GiB, headroom: 10%, price_per_hour: 2.5}
knobs: {precision: [bf16, fp32], torch_compile: no, optim: adamw_torch, torch_empty_cache_steps: [null, 4]}
allow: [same-math, mixed-precision]
objective: cost
budget: {trials: 10, minutes: 2.5}
loss_tolerance: 5%
worthwhile: 0.01
seed: 3
"""
NO_CODE = """\
config: {model_type: bert, id2label: {0: a, 1: b}}
tokenizer: gpt2
task: sequence-classification
data: {path: reviews.jsonl, text_column: text, max_length: 64}
global_batch_size: 24
target: &t
  count: 2
knobs:
  gradient_checkpointing: [true, false]
  per_device_train_batch_size: [1, 12]
trust_remote_code: false
"""
SEEDS = [FULL, NO_CODE, template()]

ODD_TEXTS = st.sampled_from(
    ["", "~", "no", "1e999", "-0", "0x", "010", "1_000", "%", "10%", "-5%", "4GiB", "٣GiB", "é", "\u2028", "\ufeff",
     "\x00", "'", '"\\ud800"', "[", "{", "]", "}", "&a", "*a", "<<: *t", "!!python/object:os.system", "!x", "|", ">",
     "---", "...", "? a", "- ", ": ", "#", "\t", "build", "synthetic", "a:b", "../x.py:f", "~/x", "/", "9" * 400,
     "." * 300]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), ODD_TEXTS,
    st.sampled_from([0, -1, 1, 3, 2**63, 2**64, 1e-320, "bf16", "cpu", "fixed", "train.py:build", "reviews.jsonl"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(ODD_TEXTS, SCALARS), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a value."""
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def changed_value(draw: st.DrawFn) -> bytes:
    """One value replaced, one key renamed, or one entry left out or added."""
    values = yaml.safe_load(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 3))):
        *above, key = draw(st.sampled_from([path for path in places(values) if path] or [("seed",)]))
        holder = values
        for part in above:
            holder = holder[part]
        action = draw(st.sampled_from(["replace", "leave out", "rename", "add"]))
        if action == "replace" or not isinstance(holder, dict):
            holder[key] = draw(VALUES)
        elif action == "add":
            holder[draw(st.one_of(ODD_TEXTS, st.text(max_size=8)))] = draw(VALUES)
        else:
            value = holder.pop(key)
            if action == "rename":
                holder[draw(st.one_of(ODD_TEXTS, st.sampled_from(["model", "data", "task", "lr", "batch"])))] = value
    return yaml.safe_dump(values, allow_unicode=draw(st.booleans())).encode("utf-8", "surrogatepass")


def changed_lines(draw: st.DrawFn) -> bytes:
    """Lines left out, doubled, swapped, indented, cut, or filled with odd text."""
    lines = draw(st.sampled_from(SEEDS)).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(lines) - 1))
        line, cut = lines[place], draw(st.integers(0, len(lines[place])))
        key, _, _ = line.partition(":")
        lines[place : place + 1] = draw(
            st.sampled_from(
                [[], [line, line], [lines[-1]], [" " + line], [line[:cut]], [line[cut:]], [line.upper()],
                 [line[:cut] + draw(ODD_TEXTS) + line[cut:]], [f"{key}: {draw(ODD_TEXTS)}"],
                 [draw(st.text(max_size=20))]]
            )
        )  # fmt: skip
        lines = lines or [""]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def changed_bytes(draw: st.DrawFn) -> bytes:
    """Bytes put somewhere, or nothing but bytes."""
    text = draw(st.sampled_from([*SEEDS, ""])).encode()
    place = draw(st.integers(0, len(text)))
    return text[:place] + draw(st.binary(max_size=30)) + text[place + draw(st.integers(0, 10)) :]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    return draw(st.sampled_from([changed_value, changed_lines, changed_bytes]))(draw)


@pytest.mark.parametrize("text", SEEDS)
def test_unchanged_files_load(folder: Path, text: str) -> None:
    (folder / "model.yaml").write_text(text, encoding="utf-8")
    assert load_probe(folder / "model.yaml").global_batch_size in (24, 32)


@settings(
    max_examples=1000,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(content=mutated())
def test_a_mutated_file_loads_or_is_refused(folder: Path, content: bytes) -> None:
    path = folder / "model.yaml"
    path.write_bytes(content)
    try:
        probe = load_probe(path)
    except ProbeFileError as error:
        message = str(error)
        assert message.startswith(str(path))
        assert len(message.splitlines()[0]) > len(str(path)) + 5
        message.encode()
    else:
        assert ProbeSpec.model_validate_json(probe.model_dump_json()) == probe
        json.dumps(probe.model_dump(mode="json"), allow_nan=False)
        assert len(probe.sha256) == 64

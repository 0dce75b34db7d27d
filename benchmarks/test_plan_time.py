"""How long a plan takes: one candidate of a 1 B model, the whole grid of an 8 B model, a 70 B model; and its memory."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from perftune.catalogue import find_gpus, load_catalogue
from perftune.planning import plan
from perftune.records.candidate import CHECKPOINTING, MICRO_BATCH, OPTIMIZER, PRECISION
from perftune.records.estimate import Plan
from perftune.spec import load_probe
from perftune.units import GIB

LLAMA = {"model_type": "llama", "vocab_size": 128256, "num_key_value_heads": 8, "max_position_embeddings": 8192}
SIZES: dict[str, dict[str, Any]] = {
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
           "head_dim": 64, "tie_word_embeddings": True},
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
    "70b": {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64},
}  # fmt: skip
"""As of Llama 3.2 1B, Llama 3.1 8B and 70B (config.json of each)."""
ONE_CANDIDATE = {PRECISION: ["bf16"], CHECKPOINTING: [True], OPTIMIZER: ["adamw_torch_fused"], MICRO_BATCH: [4]}
CASES: dict[str, tuple[str, dict[str, Any], tuple[float, float | None]]] = {
    "one candidate of 1 B": ("1b", ONE_CANDIDATE, (10.0, None)),
    "the whole grid of 8 B": ("8b", {}, (60.0, None)),
    "one candidate of 70 B": ("70b", ONE_CANDIDATE, (120.0, 8.0)),
}
"""Name -> model, knobs, goal in seconds and in GiB."""


def probe_file(folder: Path, size: str, knobs: dict[str, Any]) -> Path:
    """A probe of one model, on samples of 2,048 tokens."""
    path = folder / "model.yaml"
    values: dict[str, Any] = {
        "config": {**LLAMA, **SIZES[size]},
        "task": "causal-lm",
        "data": {"synthetic": {"num_samples": 64, "distribution": "fixed", "mean_length": 2048, "max_length": 2048}},
        "global_batch_size": 32,
        "knobs": {**knobs, "attn_implementation": ["sdpa"]},
    }
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("case", CASES)
def test_plan_time(tmp_path: Path, benchmark: Callable[..., Plan], case: str) -> None:
    size, knobs, (goal_seconds, goal_gib) = CASES[case]
    probe = load_probe(probe_file(tmp_path, size, knobs))
    made = benchmark.pedantic(plan, (probe, find_gpus(["h100-sxm"], load_catalogue())), rounds=1)  # type: ignore[attr-defined]
    largest_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / GIB
    print(
        f"\n{case}: {made.trace_seconds:.1f} s of traces (goal {goal_seconds:.0f}), {len(made.estimates)} candidates, "
        f"at most {largest_gib:.1f} GiB resident in a process" + (f" (goal {goal_gib:.0f} GiB)" if goal_gib else "")
    )
    assert made.num_parameters > 1e9

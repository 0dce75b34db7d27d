"""What tests of traces ask for: a trace of one of the models here, and figures of its tape."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perftune.plan.program import Part, step_parts
from perftune.records.trace import Tape, Trace, TraceRequest
from perftune.records.trial import WorkloadSource
from perftune.tracing.trace import trace

MODELS = Path(__file__).with_name("models.py")
IGNORED = ("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
"""Of libraries that are imported or that step on a CPU what is meant for a GPU."""


def request(model: str, working_directory: Path | str = ".", **fields: Any) -> TraceRequest:
    arguments = {"gradient_accumulation_steps": 2, "optim": "adamw_torch", **fields.pop("arguments", {})}
    return TraceRequest(
        workload=WorkloadSource(build=f"{MODELS}:{model}", working_directory=str(working_directory)),
        arguments=arguments,
        micro_batches=fields.pop("micro_batches", (2,)),
        optimizers=fields.pop("optimizers", (arguments["optim"],)),
        **fields,
    )


def traced(model: str, directory: Path, **fields: Any) -> Trace:
    """In this process."""
    return trace(request(model, **fields), directory)


def operators(tape: Tape, begin: str = "", end: str = "") -> list[str]:
    """Names of the operators in order, between two marks if they are given."""
    first = tape.op_marks[begin] if begin else 0
    last = tape.op_marks[end] if end else len(tape.ops.name)
    return [tape.ops.names[number] for number in tape.ops.name[first:last]]


def bytes_of(tape: Tape, part: Part) -> float:
    """What the first micro-step allocates for one part."""
    parts = step_parts(tape)
    made = [event - 1 for event in tape.events[: tape.marks["micro_0_ends"]] if event > 0]
    return sum(tape.sizes[number] for number in made if parts[number] == part)


def alive_after(events: Sequence[int], place: int) -> set[int]:
    """Allocations that are there after some events."""
    alive: set[int] = set()
    for event in events[:place]:
        if event > 0:
            alive.add(event - 1)
        else:
            alive.remove(-event - 1)
    return alive

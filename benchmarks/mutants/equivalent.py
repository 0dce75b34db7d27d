"""Mutants that no test can notice: the same behaviour in other words, each with the reason."""

from benchmarks.mutants.mutate import Mutant

EQUIVALENT: dict[tuple[str, str, str], str] = {
    (
        "perftune.plan.communication",
        "tape = trace.steps[0].tape",
        "0 → -1",
    ): "the modules are those of every traced step",
}
"""Module, line of code, change -> why it is the same."""


def reason(module: str, mutant: Mutant) -> str | None:
    """Why a mutant is no fault; None where it is one."""
    return EQUIVALENT.get((module, mutant.code, mutant.change))

"""The answer: the chosen candidate, its reasons, its runners-up."""

from enum import Enum
from typing import Any

from pydantic import Field

from perftune.records.base import Record, Setting
from perftune.records.candidate import Candidate
from perftune.records.gradients import GradientCheck


class Interval(Record):
    """A value with its confidence interval."""

    value: float
    low: float
    high: float
    confidence: float = 0.95


class PairedComparison(Record):
    """Throughput of a candidate over that of a reference, from measurements that lie next to each other in time."""

    ratio: Interval
    num_pairs: int
    pairs: tuple[tuple[int, int], ...]
    """Trial numbers: (candidate, reference)."""
    num_heats: int | None = None
    """Sets of fresh processes in which both lived side by side; None: a run of one followed a run of the other."""
    num_rounds: int | None = None
    """Of all heats together: in a round each has one turn of about a second."""
    in_turns: bool = True
    """False: they do not fit into memory beside each other, so they were run one after the other."""


class LossCheck(Record):
    """Whether the loss follows the reference (the user's own arguments, same seed and data)."""

    num_steps: int
    relative_difference: Interval
    """Mean of (candidate - reference) / reference over the compared steps."""
    tolerance: float
    """How far the loss may lie above the reference's, as a part of it."""
    passed: bool
    """It is not higher than the tolerance allows, and is on one scale with the reference's; so are first gradients."""
    is_noisy: bool = False
    """It passed although the interval reaches beyond the tolerance: the loss is too noisy to tell more."""
    is_lower: bool = False
    """The whole interval lies below the reference by more than the tolerance: it learns faster, which is no failure."""
    trials: tuple[int, int]
    """Trial numbers: (candidate, reference)."""
    scale: float | None = None
    """How many times the reference's it is in the very first steps, from equal weights; None: about as large."""
    gradients: GradientCheck | None = None
    """Of the first step; None: not compared."""
    message: str = ""
    """One sentence for the user; empty in studies from before it was kept."""


class Decision(str, Enum):
    """What the user should do. Values are never removed, only added."""

    TUNED = "tuned"
    KEEP_YOURS = "keep_yours"
    NOT_DECIDED = "not_decided"


class TunedLine(Record):
    """One argument that differs from the user's own."""

    field: str
    value: Setting
    user_value: Setting
    speedup: Interval | None = None
    """Step throughput with this line over without it, all other lines tuned; None: not measured, see `reason`."""
    memory_bytes: int | None = None
    """Peak with the line less peak without it."""
    reason: str


class Rejection(Record):
    """A candidate or a value that was not chosen, and why."""

    what: str
    reason: str
    trial: int | None = None


class Summary(Record):
    """The figures of one candidate, from all its runs."""

    samples_per_second: float
    tokens_per_second: float | None
    step_seconds: float
    peak_memory_bytes: int
    cost_per_million_samples: float | None = None


class Recommendation(Record):
    """The chosen candidate and everything that speaks for it."""

    decision: Decision
    candidate: Candidate
    arguments: dict[str, Any]
    """What the emitted file holds: the user's base overlaid with the tuned lines."""
    attn_implementation: str | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    lines: tuple[TunedLine, ...]
    before: Summary
    after: Summary
    comparison: PairedComparison | None
    """None when there was nothing to compare: the user's own arguments are the best or do not run."""
    loss_check: LossCheck | None
    final_trial: int | None
    """Number of the trial that ran it in a fresh process with worst batch, evaluation and checkpoint."""
    headroom_bytes: int
    """Limit less peak of the final trial."""
    runners_up: tuple[Candidate, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    eval_batch_size: int | None = None
    notes: tuple[str, ...] = ()
    """What the user should know: what was not measured, what bounds the confidence."""
    chance_better: float | None = None
    """Of the chosen candidate, or of the best so far where nothing is decided, to be better than the user's own."""
    best_so_far: Candidate | None = None
    """Where nothing is decided: what looks best."""
    needs: str | None = None
    """Where nothing is decided: what it would take, such as ``about 4 more minutes``."""
    needs_disk: bool = False
    """Nothing was decided for want of disk space alone: the same command goes on once there is some."""

"""The gradient of a trial's first optimizer step, small enough to keep, and how two of them compare."""

import math

from perftune.records.base import Record


class GroupSketch(Record):
    """The gradient of one part of the model."""

    name: str
    """Path of the modules; ``*`` stands for the numbers of repeated layers."""
    num_parameters: int
    norm: float
    """L2, exact."""
    projection: tuple[float, ...]
    """A count sketch: sums of the entries with random signs, which depend on the parameters' names alone. The length
    of the difference of two projections is that of the gradients' difference, give or take 1 / √(2 · entries)."""


class GradientSketch(Record):
    """What was summed over all micro-batches and processes for the first optimizer step, before it was clipped."""

    groups: tuple[GroupSketch, ...]
    precision: str
    """The coarsest that took part: ``fp32``, ``tf32``, ``bf16`` or ``fp16``."""
    num_micro_batches: int
    """Of the step, in each process."""
    samples_digest: int | None
    """Of what the step was trained on, padding and order aside; None: it was not of a kind that can be read."""
    is_random: bool
    """Whether random numbers were drawn on the way, as by dropout: then the gradient is one of many."""
    is_finite: bool = True
    """False where loss scaling overflowed, or where the loss is not a number."""

    @property
    def norm(self) -> float:
        """L2, over all groups."""
        return math.hypot(*(group.norm for group in self.groups))


class GroupDifference(Record):
    """A candidate's gradient against the reference's, in one group or in all."""

    name: str
    num_parameters: int
    norm_ratio: float
    """Candidate over reference; 1 where both are zero."""
    relative_difference: float
    """Length of the difference over the reference's norm, give or take 1 / √(2 · entries of the projection)."""
    cosine: float
    passed: bool


class GradientCheck(Record):
    """Whether the first step of a candidate has the gradient of the reference's."""

    groups: tuple[GroupDifference, ...]
    whole: GroupDifference
    tolerance: float
    """Of the relative difference of each group; where `is_exact` is false, of the norm of the whole."""
    is_exact: bool
    """Direction and size were compared; else only the size: samples or random numbers were not seen to be the same."""
    is_split: bool = False
    """It passed though they differ by more than rounding: micro-batches are averaged one by one, and the step is split
    into another number of them."""
    passed: bool
    message: str
    """One sentence for the user."""

    @property
    def worst(self) -> GroupDifference:
        """The group that differs most."""
        return max(self.groups, key=lambda group: group.relative_difference, default=self.whole)

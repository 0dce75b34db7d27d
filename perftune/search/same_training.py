"""Two trials, one of them of the user's own arguments, to what the other one trained otherwise. Pure.

A trial checks its own arguments and samples. What depends on the micro-batch without showing in them is seen beside the
user's own: a sampler that draws other rows, rows that are made in batches, an optimizer that steps in each micro-batch.
"""

from perftune.records.trial import Measurement, Trial

HOLD = (
    "Hold the micro-batch with `knobs: {{per_device_train_batch_size: [{own}]}}` in the probe file, and the others are "
    "tuned"
)
OTHER_ROWS = (
    "with a micro-batch of {micro} the first optimizer step draws other rows of the data than with your own {own}: the "
    "sampler depends on the micro-batch"
)
OTHER_CONTENTS = (
    "with a micro-batch of {micro} the rows of the train data hold something else than with your own {own}: the data "
    "are made in batches of it"
)
OTHER_STEPS = (
    "with a micro-batch of {micro} an optimizer makes {steps} steps within one optimizer step of the Trainer, and "
    "{own_steps} with your own {own}: training_step lets it step in every micro-batch"
)

OTHER_SAMPLES = (
    "with a micro-batch of {micro} an optimizer step trains on {samples} times the samples that it trains on with your "
    "own {own}: the data loader does not follow per_device_train_batch_size"
)
OTHER_TOKENS = (
    "with a micro-batch of {micro} the model is given {tokens:.0%} of the tokens that the data loader gives, and "
    "{own_tokens:.0%} with your own {own}: samples are cut or left out by the size of the micro-batch"
)
OTHER_RATE = (
    "with a micro-batch of {micro} the learning rate is {rate}, and {own_rate} with your own {own}: it is made from "
    "the micro-batch"
)
SHARE, TIMES = 0.01, 1.5
"""Rounding is allowed for shares of tokens; where samples are guessed, what is not followed differs by two or more."""


def trains_otherwise(trial: Trial, own: Trial, *, may_reorder: bool = False) -> str | None:
    """What another micro-batch changed that it must not, with what to do; None where nothing was seen.

    Args:
        trial: of a candidate.
        own: of the user's own arguments.
        may_reorder: whether the order of the data may be another one.
    """
    one, other = trial.measurement, own.measurement
    micro, own_micro = trial.candidate.micro_batch, own.candidate.micro_batch
    if one is None or other is None or micro == own_micro:
        return None
    text = _what_differs(one, other, may_reorder=may_reorder)
    if text is None:
        return None
    return f"{text}. {HOLD}".format(
        micro=micro,
        own=own_micro,
        steps=one.num_steps_inside,
        own_steps=other.num_steps_inside,
        samples=f"{_samples(one) / _samples(other):.2g}",
        tokens=one.token_share or 0.0,
        own_tokens=other.token_share or 0.0,
        rate=_rates(one),
        own_rate=_rates(other),
    )


def _what_differs(one: Measurement, other: Measurement, *, may_reorder: bool) -> str | None:
    times = _samples(one) / _samples(other)
    found = {
        OTHER_SAMPLES: not (one.knows_samples and other.knows_samples) and not 1 / TIMES < times < TIMES,
        OTHER_STEPS: one.num_steps_inside != other.num_steps_inside,
        OTHER_RATE: bool(one.learning_rates and other.learning_rates) and _rates(one) != _rates(other),
        OTHER_CONTENTS: _differ(one.row_contents, other.row_contents),
        OTHER_ROWS: not may_reorder and _differ(one.first_rows, other.first_rows),
        OTHER_TOKENS: _share_differs(one.token_share, other.token_share),
    }
    return next((text for text, is_so in found.items() if is_so), None)


def _samples(measurement: Measurement) -> float:
    """Of an optimizer step; 1 where none could be counted."""
    numbers = measurement.steps.num_samples
    return max(1.0, sum(numbers) / max(1, len(numbers)))


def _rates(measurement: Measurement) -> str:
    return " and ".join(f"{rate:g}" for rate in measurement.learning_rates)


def _share_differs(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) > SHARE * max(one, other)


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other

"""A probe and what the survey found become the space of candidates: which knobs, and which values of each."""

from collections.abc import Callable

from perftune.errors import ProbeFileError
from perftune.records.base import Setting
from perftune.records.candidate import (
    ATTENTION,
    CHECKPOINTING,
    COMPILE,
    CUDA_ALLOCATOR,
    MICRO_BATCH,
    OPTIMIZER,
    PRECISION,
    SAMPLING,
    WORKERS,
    Candidate,
    Change,
    Knob,
    Space,
)
from perftune.records.probe import Objective, ProbeSpec
from perftune.records.survey import Survey

ADAMW: dict[str, Change] = {
    "adamw_torch": Change.SAME_MATH,
    "adamw_torch_fused": Change.SAME_MATH,
    "adamw_bnb_8bit": Change.LOW_BIT_OPTIMIZER,
    "paged_adamw_8bit": Change.LOW_BIT_OPTIMIZER,
    "adamw_torch_8bit": Change.LOW_BIT_OPTIMIZER,
}
"""Implementations of AdamW that may stand in for one another, with what each changes; a user of any other optimizer
keeps it, because another family learns something else."""

ADAMW_FAMILY = {*ADAMW, "adamw_hf", "adamw_8bit", "adamw_anyprecision", "paged_adamw", "paged_adamw_32bit"}
"""What a user of AdamW may have set."""

NUM_WORKERS = {"cpu": (0, 2), "cuda": (0, 2, 4, 8)}
"""Data loader workers worth trying, up to the cores; on CPU they take cores from the training itself."""
NUM_WAITING_WORKERS = (0, 2, 4, 8, 16)
"""Where samples wait for a disk or a network, workers wait at the same time, beyond the number of cores too."""
WAITS = 4.0
"""A sample that takes so many times as long as it computes waits for something; on a busy machine it is less."""
MIN_WAITING_SECONDS = 5e-4
"""Of a sample; what takes less is over before a worker has handed it on."""

SLOW_HALF = 3.0
"""Half precision that multiplies so many times slower than fp32 is neither tried nor traced, as nothing that it saves
elsewhere makes up for that; one that the CPU only emulates was seen to multiply 20 to 30 times slower."""

OTHERS = "other than "
"""How the survey names all values but the one that a knob is held at."""

SAMPLINGS = ("random", "group_by_length")

_CORE = (MICRO_BATCH, PRECISION, CHECKPOINTING, OPTIMIZER)
_CUDA_ONLY = (COMPILE, "dataloader_pin_memory", "torch_empty_cache_steps", CUDA_ALLOCATOR)


def build_space(probe: ProbeSpec, survey: Survey) -> Space:
    """The knobs that can matter here, with the values that are supported and allowed; the user's own value first.

    Values that the probe names are taken as they are (naming allows them), less what is unsupported; a knob with one
    named value is held at it, in the base candidate too. Other knobs take the defaults of the device. A knob that the
    user did not name and that has only one value is left out, except the few that every report shows.

    Raises:
        ProbeFileError: of a knob that the probe names, no value can be used here.
    """
    knobs = []
    for name in dict.fromkeys((*_CORE, ATTENTION, COMPILE, WORKERS, *_DEFAULTS, *probe.knobs)):
        values = _named(probe, survey, name) if name in probe.knobs else _default(probe, survey, name)
        if values and (len(values) > 1 or name in _CORE or name in probe.knobs):
            knobs.append(Knob(name=name, values=_own_first(values, _own(probe, survey, name))))
    limit = probe.target.memory_bytes or survey.device.memory_bytes
    return Space(
        knobs=tuple(knobs),
        base=Candidate(settings={knob.name: _base_value(probe, survey, knob) for knob in knobs}),
        global_batch_size=probe.global_batch_size,
        num_devices=probe.target.count,
        memory_limit_bytes=limit,
        headroom=probe.target.headroom,
        device=survey.device,
    )


def micro_batches(probe: ProbeSpec) -> tuple[int, ...]:
    """Every micro-batch that makes the global batch with whole accumulation steps, ascending."""
    samples = probe.global_batch_size // probe.target.count
    return tuple(size for size in range(1, samples + 1) if samples % size == 0)


def _held(survey: Survey, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The micro-batches that the workload can take; all, if the survey does not say otherwise."""
    supported = survey.supported.get(MICRO_BATCH)
    return sizes if supported is None else tuple(size for size in sizes if size in supported)


def _named(probe: ProbeSpec, survey: Survey, name: str) -> tuple[Setting, ...]:
    possible: tuple[Setting, ...] | None = survey.supported.get(name)
    if name == MICRO_BATCH:
        possible = _held(survey, micro_batches(probe))
    refused = survey.unsupported.get(name, {})
    values = tuple(
        value
        for value in dict.fromkeys(probe.knobs[name])
        if str(value) not in refused and "*" not in refused and (possible is None or _contains(possible, value))
    )
    if not values:
        named = ", ".join(str(value) for value in probe.knobs[name])
        of_named = [refused[str(value)] for value in probe.knobs[name] if str(value) in refused]
        of_all = [reason for value, reason in refused.items() if value == "*" or value.startswith(OTHERS)]
        reasons = "; ".join(reason.rstrip(".") for reason in dict.fromkeys(of_named + of_all)) or (
            f"possible are {', '.join(str(value) for value in possible)}" if possible else "the value is unknown here"
        )
        raise ProbeFileError(
            f"{probe.source_path}: knobs.{name}: none of the named values ({named}) can be used here: {reasons}. "
            "Name another value or leave the knob out."
        )
    return values


def _default(probe: ProbeSpec, survey: Survey, name: str) -> tuple[Setting, ...]:
    if name == MICRO_BATCH:
        return _held(survey, micro_batches(probe))
    if name not in survey.base:
        return ()
    own = survey.base[name]
    if name in _CUDA_ONLY and survey.device.kind != "cuda":
        return (own,)
    change, wanted = _DEFAULTS[name]
    supported = survey.supported.get(name, ())
    others = wanted(probe, survey, supported) if change in probe.allow else ()
    return (own, *(value for value in others if not _same(value, own)))


def _optimizers(probe: ProbeSpec, survey: Survey, supported: tuple[Setting, ...]) -> tuple[Setting, ...]:
    if survey.base[OPTIMIZER] not in ADAMW_FAMILY:
        return ()
    return tuple(name for name, change in ADAMW.items() if name in supported and change in probe.allow)


def _workers(_: ProbeSpec, survey: Survey, supported: tuple[Setting, ...]) -> tuple[Setting, ...]:
    cores = survey.device.num_cores or 1
    numbers = NUM_WORKERS.get(survey.device.kind, (0,))
    useful = tuple(number for number in numbers if number <= cores)
    return tuple(number for number in (NUM_WAITING_WORKERS if _waits(survey) else useful) if number in supported)


def _waits(survey: Survey) -> bool:
    """Whether loading a sample is mostly waiting."""
    seconds, computing = survey.sample_seconds, survey.sample_cpu_seconds
    if seconds is None or computing is None:
        return False
    return seconds >= MIN_WAITING_SECONDS and seconds >= WAITS * computing


def _precisions(probe: ProbeSpec, survey: Survey, supported: tuple[Setting, ...]) -> tuple[Setting, ...]:
    slow = ruled_out(probe, survey).get(PRECISION, {})
    return tuple(value for value in supported if str(value) not in slow)


def ruled_out(probe: ProbeSpec, survey: Survey) -> dict[str, dict[str, str]]:
    """Knob -> value -> why the survey's measurements leave it no chance; what the probe names is tried all the same."""
    is_about_speed = probe.objective is not Objective.PEAK_MEMORY
    if not is_about_speed or PRECISION in probe.knobs or survey.base.get(PRECISION) == "bf16":
        return {}
    if survey.half_slowdown < SLOW_HALF:
        return {}
    reason = f"a linear layer takes {survey.half_slowdown:.0f} times as long in it on this CPU, measured in the survey"
    return {PRECISION: {"bf16": reason}}


def _all(_: ProbeSpec, __: Survey, supported: tuple[Setting, ...]) -> tuple[Setting, ...]:
    return supported


_Values = Callable[[ProbeSpec, Survey, tuple[Setting, ...]], tuple[Setting, ...]]

_DEFAULTS: dict[str, tuple[Change, _Values]] = {
    PRECISION: (Change.MIXED_PRECISION, _precisions),
    CHECKPOINTING: (Change.SAME_MATH, _all),
    # Which of them are allowed is decided one by one.
    OPTIMIZER: (Change.SAME_MATH, _optimizers),
    ATTENTION: (Change.SAME_MATH, _all),
    COMPILE: (Change.SAME_MATH, _all),
    WORKERS: (Change.SAME_MATH, _workers),
    "dataloader_pin_memory": (Change.SAME_MATH, _all),
    "use_liger_kernel": (Change.SAME_MATH, _all),
    "torch_empty_cache_steps": (Change.SAME_MATH, _all),
    CUDA_ALLOCATOR: (Change.SAME_MATH, _all),
    SAMPLING: (
        Change.DATA_ORDER,
        lambda _, __, supported: tuple(value for value in SAMPLINGS if value in supported),
    ),
}
"""Of each knob that is varied unasked: what must be allowed for it, and which of the supported values are tried."""


def _own(probe: ProbeSpec, survey: Survey, name: str) -> Setting:
    own = survey.base.get(name)
    if name == MICRO_BATCH and isinstance(own, int):
        # The user's own may not divide the global batch; then the next smaller one that does is theirs.
        return max(size for size in micro_batches(probe) if size <= max(own, 1))
    return own


def _base_value(probe: ProbeSpec, survey: Survey, knob: Knob) -> Setting:
    own = _own(probe, survey, knob.name)
    return own if _contains(knob.values, own) else knob.values[0]


def _own_first(values: tuple[Setting, ...], own: Setting) -> tuple[Setting, ...]:
    if not _contains(values, own):
        return values
    return (own, *(value for value in values if not _same(value, own)))


def _same(a: Setting, b: Setting) -> bool:
    """Equal and of one type: True is not 1 here."""
    return type(a) is type(b) and a == b


def _contains(values: tuple[Setting, ...], value: Setting) -> bool:
    return any(_same(known, value) for known in values)

import math

import numpy as np
import pytest

from perftune.records.candidate import CHECKPOINTING, MICRO_BATCH, PRECISION
from perftune.records.probe import Objective
from perftune.records.trial import Outcome
from perftune.search.encoding import Encoding
from perftune.search.fitting import FARTHEST, MemoryModel, hungrier
from perftune.search.observations import PARTS, observe
from perftune.search.timing import TimeModel, log_total

SAMPLES = Objective.SAMPLES_PER_SECOND
GIB = 2**30


def sized(space, size, **settings):
    return space.base.replace(**{MICRO_BATCH: size}, **settings)


def predicted(space, trials, candidate):
    encoding = Encoding(space)
    model = TimeModel(encoding, observe(encoding, trials, SAMPLES))
    row = np.array([encoding.number(candidate)])
    logs = log_total(model.part_samples(row, 400, np.random.default_rng(0)))
    return math.exp(logs.mean()), float(logs.std())


def test_the_encoding_numbers_the_candidates_in_the_order_of_the_space(space):
    encoding = Encoding(space)
    for number, candidate in enumerate(space.candidates()):
        assert encoding.number(candidate) == number
        assert encoding.candidate(number) == candidate
        assert encoding.micro_batch[number] == candidate.micro_batch
    assert encoding.number(sized(space, 5)) is None
    assert encoding.number(space.base.replace(other=1)) is None


def test_the_parts_of_a_step_add_up(space, trial):
    encoding = Encoding(space)
    (seen,) = observe(encoding, [trial(0, space.base, 2.0, optimizer_share=0.3)], SAMPLES)
    assert np.exp(seen.log_parts).sum() == pytest.approx(2.0)
    assert np.exp(seen.log_parts[PARTS.index("optimizer")]) == pytest.approx(0.6)
    assert seen.spread == 0


def test_a_slow_optimizer_is_learned_apart_from_precision(space, trial):
    half = space.base.replace(**{PRECISION: "bf16"})
    fused = space.base.replace(optim="adamw_torch_fused")
    # bf16 halves 0.6 s of compute; the fused optimizer takes 0.1 s instead of 0.4 s.
    trials = [
        trial(0, space.base, 1.0, optimizer_share=0.4),
        trial(1, half, 0.72, optimizer_share=0.4 / 0.72),
        trial(2, fused, 0.7, optimizer_share=0.1 / 0.7),
    ]
    both, _ = predicted(space, trials, fused.replace(**{PRECISION: "bf16"}))
    assert both == pytest.approx(0.42, rel=0.1)


def test_a_slow_build_tells_that_the_machine_was_slow_and_not_the_candidate(space, trial):
    big = sized(space, 8)

    def run(build_seconds):
        slow = trial(3, big, 3.0)
        measurement = slow.measurement.model_copy(update={"build_seconds": build_seconds})
        trials = [trial(i, sized(space, size), 1.0) for i, size in enumerate((4, 2, 16))]
        return predicted(space, [*trials, slow.model_copy(update={"measurement": measurement})], big)[0]

    assert run(1.5) < run(0.5)
    assert run(1.5) == pytest.approx(1.0, rel=0.25)


def test_repeats_narrow_the_belief(space, trial):
    once = predicted(space, [trial(0, space.base)], space.base)[1]
    often = predicted(space, [trial(i, space.base) for i in range(4)], space.base)[1]
    assert often < once


def test_memory_is_affine_in_the_micro_batch(space, trial):
    encoding = Encoding(space)
    trials = [trial(i, sized(space, size), peak_bytes=GIB + size * GIB // 10) for i, size in enumerate((2, 8))]
    mean, sd = MemoryModel(encoding, trials).peak_bytes()
    row = encoding.number(sized(space, 16))
    assert mean[row] == pytest.approx(2.6 * GIB, rel=0.1)
    assert sd[row] < 0.4 * GIB


def test_an_oom_excludes_what_needs_as_much_or_more(space, trial):
    encoding = Encoding(space)
    saving = sized(space, 8, **{CHECKPOINTING: True})
    trials = [trial(0, space.base), trial(1, saving, outcome=Outcome.OUT_OF_MEMORY)]
    probability = MemoryModel(encoding, trials).fit_probability()
    for size, fits in ((4, True), (8, False), (16, False)):
        for checkpointing in (False, True):
            row = encoding.number(sized(space, size, **{CHECKPOINTING: checkpointing}))
            assert bool(probability[row] > 0) == fits
    other = encoding.number(saving.replace(**{PRECISION: "bf16"}))
    assert probability[other] > 0


def test_a_killed_process_speaks_of_memory_and_a_crash_does_not(space, trial):
    encoding = Encoding(space)
    for outcome, excluded in ((Outcome.KILLED, True), (Outcome.CRASHED, False)):
        model = MemoryModel(encoding, [trial(0, sized(space, 8), outcome=outcome)])
        assert model.excluded[encoding.number(sized(space, 16))] == excluded


def test_what_ran_fits_and_so_does_what_is_smaller(space, trial):
    encoding = Encoding(space)
    probability = MemoryModel(encoding, [trial(0, sized(space, 8), peak_bytes=3 * GIB)]).fit_probability()
    assert all(probability[encoding.number(sized(space, size))] == 1 for size in (1, 2, 4, 8))
    assert probability[encoding.number(sized(space, 16))] < 1


def test_far_extrapolation_is_believed_less(space, trial):
    encoding = Encoding(space)
    probability = MemoryModel(
        encoding, [trial(0, sized(space, 1), peak_bytes=GIB // 2 + GIB // 1000)]
    ).fit_probability()
    far = encoding.number(sized(space, 16))
    assert probability[far] <= FARTHEST / 16


def test_hungrier_agrees_in_everything_but_size_and_checkpointing(space):
    encoding = Encoding(space)
    row = encoding.number(sized(space, 4, **{CHECKPOINTING: True}))
    found = [encoding.candidate(int(number)) for number in np.flatnonzero(hungrier(encoding, row))]
    assert {(c.micro_batch, c.settings[CHECKPOINTING]) for c in found} == {
        (size, flag) for size in (4, 8, 16) for flag in (False, True)
    }
    assert {c.settings[PRECISION] for c in found} == {"fp32"}

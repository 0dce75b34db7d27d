"""The usual micro-batch is what a simulation of random ones gives."""

import numpy as np
import pytest

from perftune.plan.padding import usual_batch


@pytest.mark.parametrize("micro_batch", [1, 2, 7, 32])
@pytest.mark.parametrize("draw", ["lognormal", "uniform", "alike"])
def test_the_longest_of_a_random_micro_batch(draw: str, micro_batch: int) -> None:
    random = np.random.default_rng(0)
    lengths = {
        "lognormal": np.rint(random.lognormal(4, 0.6, 20_000)).clip(1, 512),
        "uniform": random.integers(1, 200, 20_000),
        "alike": np.full(20_000, 77),
    }[draw]
    quantiles = [int(np.quantile(lengths, percent / 100)) for percent in range(101)]
    usual = usual_batch(quantiles, float(lengths.mean()), micro_batch)
    batches = random.choice(lengths, (20_000, micro_batch))
    assert usual.num_padded_tokens == pytest.approx(batches.max(axis=1).mean(), rel=0.03)
    assert usual.num_tokens == pytest.approx(batches.mean(), rel=0.02)
    assert usual.num_tokens <= usual.num_padded_tokens


def test_without_a_mean_that_of_the_quantiles_is_taken() -> None:
    assert usual_batch((2,) * 50 + (4,) * 51, None, 1).num_tokens == pytest.approx(3.01, abs=0.01)

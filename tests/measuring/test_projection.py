"""Sketches: the same everywhere, linear, and as long as what they are of, to the error that is stated."""

import math
import subprocess
import sys

import pytest
import torch

from perftune.measuring.projection import NUM_SUMS, TILE, Projection

CPU = torch.device("cpu")
ONE_SIGMA = 1 / math.sqrt(2 * NUM_SUMS)


def sketch(*gradients: tuple[str, torch.Tensor]) -> tuple[float, torch.Tensor]:
    projection = Projection(CPU)
    for name, gradient in gradients:
        projection.add(name, gradient)
    return projection.norm(), torch.tensor(projection.sums())


def gradient(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [1, 5, TILE - 1, TILE, TILE + 1, 3 * TILE + 17])
def test_the_norm_is_exact_whatever_the_size(size: int) -> None:
    values = gradient(size)
    norm, _ = sketch(("weight", values))
    assert norm == pytest.approx(float(values.norm()), rel=1e-5)


@pytest.mark.parametrize("size", [40, TILE, 2 * TILE + 999])
def test_the_sketch_of_a_difference_is_the_difference_of_the_sketches(size: int) -> None:
    first, second = gradient(size), gradient(size, seed=1)
    both = sketch(("w", first))[1] - sketch(("w", second))[1]
    assert torch.allclose(both, sketch(("w", first - second))[1], atol=1e-3 * math.sqrt(size))


@pytest.mark.parametrize("kind", ["noise", "one row, repeated", "constant", "one entry"])
def test_its_length_is_that_of_the_gradient_to_the_error_that_is_stated(kind: str) -> None:
    """Over many names, so over many signs: unbiased, and with no more spread than for noise."""
    size = TILE + 4096
    values = {
        "noise": gradient(size),
        "one row, repeated": gradient(512).repeat(size // 512),
        "constant": torch.ones(size),
        "one entry": torch.eye(1, size)[0],
    }[kind]
    squares = torch.tensor([float(sketch((f"w{i}", values))[1].norm() ** 2) for i in range(100)]) / values.norm() ** 2
    assert float(squares.mean()) == pytest.approx(1, abs=5 * 2 * ONE_SIGMA / 10)
    assert float(squares.sqrt().std()) < 1.6 * ONE_SIGMA


def test_unlike_directions_keep_their_angle() -> None:
    first, second = gradient(TILE), gradient(TILE, seed=1)
    found = [float(sketch((f"w{i}", first))[1] @ sketch((f"w{i}", second))[1]) for i in range(100)]
    scale = float(first.norm() * second.norm())
    assert sum(found) / len(found) / scale == pytest.approx(float(first @ second) / scale, abs=5 * 0.18 / 10)


def test_parameters_of_a_group_add_up() -> None:
    first, second = gradient(30, 40), gradient(7, seed=1)
    together_norm, together = sketch(("a.weight", first), ("a.bias", second))
    parts = [sketch(("a.weight", first)), sketch(("a.bias", second))]
    assert together_norm == pytest.approx(math.hypot(parts[0][0], parts[1][0]))
    assert torch.allclose(together, parts[0][1] + parts[1][1], atol=1e-4)


def test_another_name_is_another_sketch() -> None:
    values = gradient(1000)
    assert not torch.allclose(sketch(("a", values))[1], sketch(("b", values))[1], atol=1.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_floating_type_is_taken(dtype: torch.dtype) -> None:
    values = gradient(TILE + 5).to(dtype)
    norm, sums = sketch(("w", values))
    expected_norm, expected = sketch(("w", values.float()))
    assert norm == pytest.approx(expected_norm, rel=1e-5)
    assert torch.allclose(sums, expected, rtol=1e-4, atol=1e-2)


def test_a_gradient_of_fp16_does_not_overflow_in_its_norm() -> None:
    assert sketch(("w", torch.full((10_000,), 60_000.0, dtype=torch.float16)))[0] == pytest.approx(
        59_999 * 100, rel=1e-2
    )


def test_sparse_turned_and_strided_gradients_are_what_they_hold() -> None:
    values = gradient(40, 8)
    expected = sketch(("w", values))[1]
    assert torch.equal(sketch(("w", values.to_sparse()))[1], expected)
    assert torch.equal(sketch(("w", values.T.contiguous().T))[1], expected)


def test_the_same_in_another_process() -> None:
    code = (
        "import torch; from perftune.measuring.projection import Projection; p = Projection(torch.device('cpu')); "
        "p.add('encoder.weight', torch.arange(1000.0)); print(p.sums())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert eval(done.stdout) == sketch(("encoder.weight", torch.arange(1000.0)))[1].tolist()


def test_the_gradient_stays_as_it_is() -> None:
    values = gradient(TILE + 3)
    before = values.clone()
    sketch(("w", values))
    assert torch.equal(values, before)

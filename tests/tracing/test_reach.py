"""Following one value through user code, on shapes."""

from collections.abc import Callable

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from perftune.tracing.reach import Reach

USES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "quotient": lambda loss, count: loss / count,
    "in place": lambda loss, count: loss.div_(count),
    "by an integer": lambda loss, count: loss / count.clamp(min=1).long(),
    "by its view": lambda loss, count: loss / count.view(1)[0],
    "into a part": lambda loss, count: torch.stack([loss, loss]).index_fill(0, torch.tensor([0]), 0.0).sum() + count,
    "through a list": lambda loss, count: torch.stack([loss, count.float()]).sum(),
    "as a weight": lambda loss, count: torch.lerp(loss, loss, 1 / count.float()),
}
LEAVES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "not at all": lambda loss, _: loss * 3,
    "looked at alone": lambda loss, count: (count.float().log(), loss.clone())[1],
    "shape only": lambda loss, count: loss * count.dim(),
}


def reaches(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> bool:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        logits, count = torch.empty(4, 3), torch.empty((), dtype=torch.int64)
    with Reach(count) as reach:
        return reach.has_reached(function(logits.logsumexp(-1).sum(), count))


@pytest.mark.parametrize("use", USES)
def test_a_value_is_followed(use: str) -> None:
    assert reaches(USES[use])


@pytest.mark.parametrize("use", LEAVES)
def test_what_it_has_no_part_in_is_not_reached(use: str) -> None:
    assert not reaches(LEAVES[use])

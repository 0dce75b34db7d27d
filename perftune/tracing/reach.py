"""Whether a value reaches a result of user code, seen on shapes: what is computed from it is followed, operator by
operator, also through views, changes in place and casts to integers, where a gradient would end."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Reach(TorchDispatchMode):
    """While it is entered, follows what is computed from one tensor."""

    def __init__(self, origin: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reached: dict[int, torch.UntypedStorage] = {}  # kept, so that no address is used twice
        self._add(origin)

    def has_reached(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor, or what it is a view of, depends on the origin."""
        return tensor.untyped_storage()._cdata in self._reached  # noqa: SLF001 (the address of the storage: its identity)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See one operator."""
        out = func(*args, **(kwargs or {}))
        if any(self.has_reached(tensor) for tensor in _tensors((args, kwargs))):
            for tensor in _tensors(out):
                self._add(tensor)
        return out

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        self._reached[storage._cdata] = storage  # noqa: SLF001


def _tensors(values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]

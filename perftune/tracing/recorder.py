"""Operators as they are dispatched to a tape: what each allocates and does, and when it is freed."""

import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from perftune.records.trace import Ops, Tape

DTYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
NO_KERNEL = {
    "aten::empty.memory_format", "aten::empty_like", "aten::new_empty", "aten::empty_strided", "aten::detach",
    "aten::new_empty_strided", "aten::set_.source_Tensor", "aten::_unsafe_view", "aten::lift_fresh",
}  # fmt: skip
"""Operators that may allocate and run nothing."""


DEVICE = torch.ops.prim.device.default
"""Where a tensor is; autograd asks twice for each gradient."""
ADD, ADD_TO = torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor
HOLDERS = 2
"""References to a storage that nobody else holds: the tensor's and Python's. A view's base holds it too."""
WRAPPERS = ("torch/_compile.py", "torch/_dynamo/eval_frame.py")
"""Between torch and a ``__torch_dispatch__``."""


def workspace_bytes(name: str, args: Any) -> int:
    """What a CUDA kernel takes beside its result, from the caching allocator.

    The backward of softmax multiplies gradient and output first (aten/src/ATen/native/cuda/SoftMax.cu,
    ``softmax_backward_cuda_out``); that of an embedding sorts its indices (``Embedding.cu``).
    """
    if name == "aten::_softmax_backward_data":
        return int(args[0].numel() * args[0].element_size())
    if name == "aten::embedding_dense_backward":
        return int(4 * args[1].numel() * args[1].element_size())
    return 0


def _accumulates_in_place(args: Any, kwargs: Any) -> bool:
    """Whether the engine would add a gradient to the one that is there already, instead of making a third.

    It does so with a dense tensor that nobody else holds (``can_accumulate_inplace`` of
    ``torch/csrc/autograd/input_buffer.cpp``), but never with subclasses, which fake tensors are.
    """
    if kwargs or len(args) != 2 or torch.is_grad_enabled() or not _called_by_engine():
        return False
    held, added = args
    if not (isinstance(held, torch.Tensor) and isinstance(added, torch.Tensor)):
        return False
    if (held.shape, held.dtype) != (added.shape, added.dtype) or not _is_dense(held):
        return False
    holders = torch._C._storage_Use_Count(held.untyped_storage()._cdata)  # noqa: SLF001
    return bool(holders <= HOLDERS)


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether the elements lie beside each other, in whatever order."""
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return reach + 1 == tensor.numel()


def _called_by_engine() -> bool:
    """Whether no Python stands between the engine and the operator."""
    frame: Any = sys._getframe(3)  # noqa: SLF001 (what called __torch_dispatch__)
    while frame.f_code.co_filename.endswith(WRAPPERS):
        frame = frame.f_back
    return bool(frame.f_code.co_name == "_engine_run_backward")


class Recorder(TorchDispatchMode):
    """Keeps the tape while it is entered. Tensors of others are told with `hold`."""

    def __init__(self, *, is_cuda: bool = True) -> None:
        """
        Args:
            is_cuda: whether kernels take the workspaces of their CUDA versions.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_cuda = is_cuda
        self.kernels: dict[str, Callable[..., Any]] = {}
        """Operator -> what runs in its place: operators of torch, allocations and notes."""
        self._known: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._quiet = 0
        self.module_names: list[str] = [""]
        self._next = 0
        self._clear()

    def _clear(self) -> None:
        self._sizes: list[int] = []
        self._op: list[int] = []
        self._module: list[int] = []
        self._modules: dict[str, int] = {}
        self._events: list[int] = []
        self._marks: dict[str, int] = {}
        self._op_marks: dict[str, int] = {}
        self._names: dict[str, int] = {}
        self._name: list[int] = []
        self._dtype: list[str] = []
        self._flops: list[float] = []
        self._bytes: list[float] = []
        self._first = self._next

    def mark(self, name: str) -> None:
        """Name this moment."""
        self._marks[name], self._op_marks[name] = len(self._events), len(self._name)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Neither count operators nor allocations."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1

    def hold(self, tensor: torch.Tensor) -> None:
        """A tensor that is there already is no allocation of what follows."""
        storage = tensor.untyped_storage()
        self._known[storage._cdata] = (weakref.ref(storage, self._forget(storage._cdata, None)), -1)  # noqa: SLF001

    def arrive(self, batch: Any) -> None:
        """A micro-batch comes to the device: its tensors are allocations that no operator makes."""
        for leaf in tree_leaves(batch):
            if isinstance(leaf, torch.Tensor):
                self._see(leaf, leaf.numel() * leaf.element_size(), op=-1)

    def allocation(self, tensor: torch.Tensor) -> int | None:
        """The number of the allocation of this tape that a tensor lives in."""
        known = self._known.get(tensor.untyped_storage()._cdata)  # noqa: SLF001
        return known[1] - self._first if known is not None and known[1] >= self._first else None

    def note(self, name: str, dtype: torch.dtype, flops: float, num_bytes: float) -> None:
        """A kernel that torch on the CPU has no operator for."""
        if self._quiet:
            return
        self._name.append(self._names.setdefault(name, len(self._names)))
        self._dtype.append(DTYPES.get(dtype, str(dtype).removeprefix("torch.")))
        self._flops.append(float(flops))
        self._bytes.append(float(num_bytes))

    def cut(self, gradients: list[torch.Tensor] | None = None) -> Tape:
        """The tape so far; a new one begins, and what is alive then is no allocation of it."""
        held = [self.allocation(tensor) for tensor in gradients or []]
        tape = Tape(
            sizes=tuple(self._sizes),
            op=tuple(self._op),
            modules=tuple(self._modules),
            module=tuple(self._module),
            events=tuple(self._events),
            marks=self._marks,
            gradients=tuple(number for number in held if number is not None),
            ops=Ops(
                names=tuple(self._names),
                name=tuple(self._name),
                dtype=tuple(self._dtype),
                flops=tuple(self._flops),
                num_bytes=tuple(self._bytes),
            ),
            op_marks=self._op_marks,
        )
        self._clear()
        return tape

    def _forget(self, key: int, number: int | None) -> Any:
        def freed(reference: Any) -> None:
            if self._known.get(key, (None, 0))[0] is reference:
                del self._known[key]
            if number is not None and number >= self._first:
                self._events.append(-(number - self._first + 1))

        return freed

    def _see(self, tensor: torch.Tensor, num_bytes: int | None = None, op: int | None = None) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata  # noqa: SLF001 (the address of the storage: its identity)
        num_bytes = storage.nbytes() if num_bytes is None else num_bytes
        if key in self._known or not num_bytes:
            return
        number = self._next
        self._known[key] = (weakref.ref(storage, self._forget(key, number)), number)
        self._allocate(num_bytes, op)

    def _allocate(self, num_bytes: int, op: int | None = None) -> None:
        number = self._next
        self._next += 1
        self._sizes.append(num_bytes)
        self._op.append(len(self._name) - 1 if op is None else op)
        self._module.append(self._modules.setdefault(self.module_names[-1], len(self._modules)))
        self._events.append(number - self._first + 1)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See one operator."""
        if func is DEVICE and isinstance(args[0], FakeTensor) and not args[0].fake_mode.in_kernel_invocation:
            return args[0].fake_device
        kwargs = kwargs or {}
        if func.name() in self.kernels:
            with self:
                return self.kernels[func.name()](*args, **kwargs)
        if func.namespace == "bitsandbytes":
            return self._packed_update(func, args, kwargs)
        in_place = func is ADD and _accumulates_in_place(args, kwargs)
        out = (ADD_TO if in_place else func)(*args, **kwargs)
        if self._quiet:
            return out
        outputs = _tensors(out)
        if not func.is_view and func.name() not in NO_KERNEL:
            self._count(func, args, kwargs, out, outputs)
        for tensor in outputs:
            self._see(tensor)
        if self.is_cuda:
            self._pass(workspace_bytes(func.name(), args))
        return out

    def _pass(self, num_bytes: int) -> None:
        """Memory that a kernel takes and gives back."""
        if num_bytes:
            self._allocate(num_bytes)
            self._events.append(-self._events[-1])

    def _count(self, func: Any, args: Any, kwargs: Any, out: Any, outputs: list[torch.Tensor]) -> None:
        inputs = _tensors(*args, *kwargs.values())
        tensors = {id(tensor): tensor for tensor in (*inputs, *outputs)}
        count = flop_registry.get(func._overloadpacket)  # noqa: SLF001 (as torch's own FlopCounterMode does)
        flops = count(*args, **kwargs, out_val=out) if count else 0
        floats = [tensor for tensor in (*inputs, *outputs) if tensor.is_floating_point()]
        written = [] if outputs else _written(func, args)
        if not outputs and not written:
            return
        dtype = (floats or outputs or written)[0].dtype
        num_bytes = sum(_num_bytes(tensor) for tensor in (*tensors.values(), *written))
        self.note(func.name(), dtype, flops, num_bytes)

    def _packed_update(self, func: Any, args: Any, kwargs: Any) -> None:
        """An update of bitsandbytes: everything in place, by a kernel that fake tensors do not have."""
        num_bytes = sum(_num_bytes(tensor) for tensor in _tensors(*args, *kwargs.values()))
        self.note(func.name(), torch.float32, 0, 2 * num_bytes)


def _written(func: Any, args: Any) -> list[torch.Tensor]:
    """What an operator without a result changes, as those of optimizers that step all parameters together."""
    schema = func._schema.arguments  # noqa: SLF001 (torch's own way to tell)
    return _tensors(*(value for argument, value in zip(schema, args, strict=False) if argument.is_write))


def _tensors(*values: Any) -> list[torch.Tensor]:
    """Those among arguments or results of an operator, which are nested in lists at most."""
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(*value)
    return found


def _num_bytes(tensor: torch.Tensor) -> int:
    """What a kernel reads or writes of a tensor: dimensions of stride 0 are read once."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride else 1
    return count * tensor.element_size() if tensor.numel() else 0

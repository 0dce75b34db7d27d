"""What FSDP and ZeRO-3 allocate to gather and to scatter, in its place in the step of one GPU.

A unit is a repeated block of the model; the root is what is outside of them. Follows torch/distributed/fsdp of PyTorch
2 (``_runtime_utils.py``, ``_flat_param.py``): units are gathered in the pools of the unshard stream before their
forward and again before their backward pass, the next one of the backward pass while this one computes
(``BACKWARD_PRE``); the root stays. Gradients of a unit are copied into one flat tensor, which is scattered into a shard
in the pools of the post-backward stream.
"""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from perftune.plan.program import MicroStep, Part, Program
from perftune.plan.rewriting import Rewriting, for_another_part

UNSHARD_STREAM, POST_BACKWARD_STREAM = 1, 2
Block = tuple[str, ...]


class Span(NamedTuple):
    """The events of one block in one direction."""

    begin: int
    end: int


def block_of(module: str) -> Block | None:
    """The element of an outermost list of modules that a module is in."""
    found = re.match(r"(.*?)\.(\d+)(\.|$)", module)
    return found.group(1, 2) if found else None


def num_blocks(modules: Iterable[str]) -> int:
    """Elements of the outermost lists of modules."""
    return len({block_of(module) for module in modules} - {None})


def unit_bytes(program: Program) -> tuple[float, float]:
    """Parameters of the root and of a block; a size that occurs in every block is one of the blocks'."""
    count = num_blocks(module for module, _ in program.maker)
    sizes = Counter(program.base[program.part == Part.PARAMETERS].tolist())
    blocks = sum(size * times for size, times in sizes.items() if count and times >= count)
    root = sum(size * times for size, times in sizes.items()) - blocks
    return float(root), float(blocks / count) if count else 0.0


def gathered(program: Program, root_bytes: float, block_bytes: float) -> Program:
    """With the parameters that are there in full for a time.

    Args:
        program: with its shards.
        root_bytes: of the parameters outside the blocks, whole.
        block_bytes: of a block's.
    """
    changes = Rewriting(program)
    for step in program.micro_steps:
        root = _gather(changes, step.begin, root_bytes)
        for span in forward_spans(program, step):
            changes.free(span.end, _gather(changes, span.begin, block_bytes))
        spans = backward_spans(program, step)
        for before, span in zip([*spans[:1], *spans], spans, strict=False):
            changes.free(span.end, _gather(changes, before.begin, block_bytes))
        changes.free(step.end, root)
    return changes.done()


def _gather(changes: Rewriting, place: int, num_bytes: float) -> int:
    size = num_bytes, 0.0
    return changes.make(place, size, Part.PARAMETERS, "gathered parameters", stream=UNSHARD_STREAM, is_lent=True)


def scattered(program: Program, num_devices: int) -> Program:
    """With gradients that are whole until their unit is done, then flat, then a shard.

    Args:
        program: with whole gradients.
        num_devices: among which they are divided.
    """
    changes, whole = Rewriting(program), set[int]()
    for step in program.micro_steps:
        spans = backward_spans(program, step)
        units = [(span.end, _gradients(program, span.begin, span.end)) for span in spans]
        head = _gradients(program, step.turn, spans[0].begin if spans else step.end)
        for end, gradients in [*units, (step.end, head)]:
            if gradients:
                _scatter(changes, end, gradients, num_devices)
                whole.update(gradients)
    return for_another_part(changes.done(), whole, Part.TEMPORARIES)


def _gradients(program: Program, begin: int, end: int) -> list[int]:
    made = [event - 1 for event in program.events[begin:end].tolist() if event > 0]
    return [number for number in made if program.part[number] == Part.GRADIENTS]


def _scatter(changes: Rewriting, place: int, gradients: list[int], num_devices: int) -> None:
    ends = [changes.freed_at.get(number) for number in gradients]
    num_bytes = float(changes.program.base[gradients].sum())
    flat = changes.make(place, (num_bytes, 0.0), Part.TEMPORARIES, "flat gradients", is_lent=True)
    for number in gradients:
        changes.free(place, number)
    shard = changes.make(
        place, (num_bytes / num_devices, 0.0), Part.GRADIENTS, "gradients", stream=POST_BACKWARD_STREAM
    )
    changes.free(place, flat)
    if None not in ends:
        changes.free(max(end for end in ends if end is not None), shard)


def kept_inputs(program: Program) -> Program:
    """With the inputs of checkpointed blocks, and their gradients, kept until the backward pass is over.

    FSDP reshards a unit without trained parameters by ``register_multi_grad_hook`` on the unit's inputs
    (``_register_post_backward_reshard_only_hook``). Under reentrant checkpointing these are leaves; the hook holds the
    node that accumulates their gradients, the node holds the leaf and its gradient, the leaf holds the hook, and only
    the end of the backward pass takes the hook off.
    """
    changes = Rewriting(program)
    for step in program.micro_steps:
        for number in _block_outputs(program, step):
            size = float(program.base[number]), float(program.slope[number])
            made = changes.make(changes.freed_at[number], size, Part.ACTIVATIONS, "gradients of inputs")
            changes.free(step.end, made)
            changes.free(step.end, number)
    return changes.done()


def _block_outputs(program: Program, step: MicroStep) -> list[int]:
    """What the forward pass of the blocks leaves for the backward pass."""
    events = program.events[step.begin : step.turn]
    left = set((events[events > 0] - 1).tolist()) - set((-events[events < 0] - 1).tolist())
    gone = set((-program.events[step.turn : step.end] - 1).tolist())
    return sorted(number for number in left & gone if block_of(program.maker[number][0]) is not None)


def forward_spans(program: Program, step: MicroStep) -> list[Span]:
    """The blocks in the order in which they allocate."""
    return _spans(program, step.begin, step.turn, only_made=True)


def backward_spans(program: Program, step: MicroStep) -> list[Span]:
    """The blocks in the order in which something of theirs is freed or computed again."""
    return _spans(program, step.turn, step.end, only_made=False)


def _spans(program: Program, begin: int, end: int, *, only_made: bool) -> list[Span]:
    """Each block from its first event to that of the next one."""
    first: dict[Block, int] = {}
    for place, event in enumerate(program.events[begin:end].tolist(), begin):
        if event < 0 and only_made:
            continue
        block = block_of(program.maker[abs(event) - 1][0])
        if block is not None:
            first.setdefault(block, place)
    return [Span(place, after) for place, after in pairwise([*first.values(), end])]

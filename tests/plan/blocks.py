"""A step of a root and two blocks, made by hand: forward through both, backward through both, one optimizer step."""

import numpy as np

from perftune.plan.program import MicroStep, Part, Program
from perftune.units import MIB

ROOT, BLOCK, HIDDEN, SCRATCH = 10 * MIB, 40 * MIB, 6 * MIB, 20 * MIB
FORWARD = (4, 5, 6, 7)
"""Outputs of the embedding and of both blocks, and the loss."""


def blocks_program() -> Program:
    """Allocations: 0 root, 1 and 2 blocks; 3 to 5 hidden states, 6 loss; scratch and gradient of each block; root's.

    The number of an event is that of the allocation plus one.
    """
    layers = ("layers.0", "layers.1")
    rows = [
        *[(size, Part.PARAMETERS, "") for size in (ROOT, BLOCK, BLOCK)],
        (HIDDEN, Part.ACTIVATIONS, "embed"),
        *[(HIDDEN, Part.ACTIVATIONS, f"{layer}.mlp") for layer in layers],
        (MIB, Part.ACTIVATIONS, "head"),
        (SCRATCH, Part.TEMPORARIES, "layers.1"),
        (BLOCK, Part.GRADIENTS, ""),
        (SCRATCH, Part.TEMPORARIES, "layers.0"),
        (BLOCK, Part.GRADIENTS, ""),
        (ROOT, Part.GRADIENTS, ""),
    ]
    backward = (-7, -6, 8, 9, -8, -5, 10, 11, -10, -4, 12)
    return Program(
        np.array([1, 2, 3, *FORWARD, *backward, -9, -11, -12], dtype=np.int64),
        np.array([float(size) for size, _, _ in rows]),
        np.zeros(len(rows)),
        np.array([int(part) for _, part, _ in rows], dtype=np.int64),
        [(module, "op") for _, _, module in rows],
        (MicroStep(3, 3 + len(FORWARD), 3 + len(FORWARD) + len(backward)),),
    )


def lifetimes(program: Program) -> dict[int, tuple[int, int | None]]:
    """Allocation -> places of its events; fails where one is made or freed twice."""
    made: dict[int, tuple[int, int | None]] = {}
    for place, event in enumerate(program.events.tolist()):
        number = abs(event) - 1
        if event > 0:
            assert number not in made
            made[number] = place, None
        else:
            begin, end = made[number]
            assert end is None
            made[number] = begin, place
    assert sorted(made) == list(range(len(program.base)))
    return made


def named(program: Program, what: str) -> list[int]:
    """The allocations that go by a name."""
    return [number for number, (_, name) in enumerate(program.maker) if name == what]

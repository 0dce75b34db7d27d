"""A small training step made by hand: every byte of it can be counted on paper."""

from perftune.records.trace import Ops, Tape, Trace, TracedOptimizer, TracedStep

KIB = 1024
PARAMETERS, BUFFERS = (4 * KIB, 2 * KIB), (KIB,)
GRADIENTS = (4 * KIB, 2 * KIB)
STATE = 12 * KIB
CLIP, UPDATE = 3 * KIB, 6 * KIB
LOSS = KIB


def activation(micro_batch: int) -> float:
    return float(KIB + 8 * KIB * micro_batch)


def scratch(micro_batch: int) -> float:
    return float(16 * KIB * micro_batch)


def step(micro_batch: int, keeps_gradients: bool = False) -> TracedStep:
    """Forward: an activation and a loss. Backward: scratch; gradients, which the second micro-step adds to.

    Allocations: 0 activation, 1 loss, 2 scratch, 3 and 4 gradients; 5 activation, 6 loss, 7 scratch, 8 and 9 temporary
    gradients.
    """
    first = (1, 2, 3, 4, -3, -1, 5)
    second = (6, -2, 7, 8, 9, -9, -8, -6, 10, -10)
    zero_grad = () if keeps_gradients else (-4, -5)
    half = (activation(micro_batch), float(LOSS), scratch(micro_batch), *map(float, GRADIENTS))
    kernels = tuple(100.0 * micro_batch + number for number in range(4))
    return TracedStep(
        micro_batch=micro_batch,
        num_tokens=micro_batch,
        num_padded_tokens=micro_batch,
        tape=Tape(
            sizes=half * 2,
            op=(-1, 0, 1, 1, 1, -1, 2, 3, 3, 3),
            modules=("", "layer"),
            module=(1, 0, 0, 0, 0, 1, 0, 0, 0, 0),
            events=(*first, *second, *zero_grad, -7),
            marks={
                "micro_0": 0,
                "backward_0": 2,
                "micro_0_ends": len(first),
                "micro_1": len(first),
                "backward_1": len(first) + 3,
                "micro_1_ends": len(first) + len(second),
            },
            gradients=(3, 4),
            ops=Ops(
                names=("mm", "mm_backward"),
                name=(0, 1, 0, 1),
                dtype=("fp32",) * 4,
                flops=kernels,
                num_bytes=tuple(2 * value for value in kernels),
            ),
        ),
    )


def optimizer() -> TracedOptimizer:
    """Allocations: 0 clipping, 1 state, 2 update; 3 clipping, 4 update."""
    return TracedOptimizer(
        optim="adamw_torch",
        tape=Tape(
            sizes=(CLIP, STATE, UPDATE, CLIP, UPDATE),
            op=(-1,) * 5,
            modules=("",),
            module=(0,) * 5,
            events=(1, -1, 2, 3, -3, 4, -4, 5, -5),
            marks={"clip_0": 0, "step_0": 2, "step_0_ends": 5, "clip_1": 5, "step_1": 7, "step_1_ends": 9},
        ),
    )


def trace(*steps: TracedStep) -> Trace:
    return Trace(
        parameter_bytes=PARAMETERS,
        buffer_bytes=BUFFERS,
        num_parameters=sum(PARAMETERS) // 4,
        num_trainable_parameters=sum(PARAMETERS) // 4,
        trainable_bytes=sum(PARAMETERS),
        steps=steps,
        optimizers=(optimizer(),),
    )

"""The environment that trials start in: the user's own, with what makes them safe to fork and fit for busy machines."""

from collections.abc import Mapping

SERVER_ENVIRONMENT = {
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "GOMP_SPINCOUNT": "3000",
}
"""The first makes ``torch.cuda.is_available()`` ask NVML, which leaves CUDA uninitialised and forking safe.

The last is for how long a thread of libgomp that waits for the others spins before it sleeps (libgomp's manual,
GOMP_SPINCOUNT). By default it is longer than a time slice of the kernel: beside other work a thread then spins for one
that has no core, and keeps it from the core that it spins on. A step of 0.14 s took 2 to 5 s beside two busy processes,
and 0.3 s with this (benchmarks/noise/spinning.py). Without other work it made no difference in three workloads, and
steps of digits_vit, which are made of many small operations, 12 to 18 % slower (benchmarks/README.md).
"""
SPINNING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""Who has set one of these trains so, and trials do, too."""


SETTINGS = (
    "ACCELERATE_DOWNCAST_", "ACCELERATE_DYNAMO_", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS",
    "ACCELERATE_MIXED_PRECISION", "ACCELERATE_TORCH_DEVICE", "ACCELERATE_USE_", "FSDP_", "PARALLELISM_CONFIG_",
)  # fmt: skip
"""What `accelerate launch` hands to the scripts that it starts: transformers and accelerate take precision,
compilation, accumulation and sharding from it, where the arguments of a trial are silent (``mixed_precision`` in
transformers/training_args.py; accelerate/state.py)."""
LAUNCHERS = (
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT", "FORK_LAUNCHED"
)  # fmt: skip
"""What torchrun hands on: a trial has ranks of its own, or none."""


def settings_of_shell(own: Mapping[str, str]) -> dict[str, str]:
    """What an environment would change in every trial, so that none of them would be what it is called."""
    return {name: value for name, value in sorted(own.items()) if name.startswith(SETTINGS)}


def server_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Of the processes that trials are forked from, or of a fresh interpreter: the user's own goes before ours.

    What would stand in for arguments, or make a rank of a trial, is left out.
    """
    ours = {k: v for k, v in SERVER_ENVIRONMENT.items() if k not in SPINNING or not any(s in own for s in SPINNING)}
    left_out = {*settings_of_shell(own), *LAUNCHERS}
    return {**ours, **{name: value for name, value in own.items() if name not in left_out}}

"""What runner and server agree on: the tasks, the files of a folder, the lines between them. No torch.

A task works in a folder: ``request.json`` in, ``result.json`` out, ``log.txt`` beside them. The runner writes one JSON
line for each process that it wants, ``{"id", "entry", "directory", "environment", "num_processes"}``; the server
answers ``{"ready": true, ...}`` once it has loaded, ``{"id", "pid"}`` for each fork and ``{"id", "status"}`` (as from
``os.wait``) for each end. When the runner's end of the pipe closes, the server kills all that it has forked and ends.

A trial that runs in turns with others has two more files, both FIFOs: in ``turn`` the runner writes a JSON line for
each `Turn` (each rank has one of its own), in ``answer`` rank 0 writes one when the turn has been taken (`TurnTaken`).
"""

from typing import NamedTuple

REQUEST, RESULT, HEARTBEAT, LOG, TRIAL = "request.json", "result.json", "heartbeat.json", "log.txt", "trial.json"
TURN, ANSWER = "turn", "answer"

DISK_FULL_STATUS = 74
"""Exit status of a process that could not write its result (EX_IOERR of sysexits.h); its log may be empty then."""

ENTRIES = {
    "trial": "perftune.trials.child:execute",
    "survey": "perftune.trials.survey:execute",
    "round_trip": "perftune.trials.round_trip:execute",
    "trace": "perftune.trials.tracing.trace:execute",
}
"""Task -> ``module:function`` that takes the folder."""

PRELOAD = (
    "torch",
    "transformers.trainer",
    "transformers.models.auto.modeling_auto",
    "perftune.trials.child",
    "perftune.trials.survey",
    "perftune.trials.round_trip",
)
"""Imported once by the server. Not bitsandbytes: it initialises CUDA when imported."""

TRACING = "perftune.trials.tracing.trace"
PRELOAD_TO_TRACE = (*PRELOAD, TRACING)
"""For a server that forks traces; fake tensors take a while to import."""

SERVER_ENVIRONMENT = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", "TOKENIZERS_PARALLELISM": "false"}
"""The first makes ``torch.cuda.is_available()`` ask NVML, which leaves CUDA uninitialised and forking safe."""


class ForkRequest(NamedTuple):
    """One process that the runner asks for."""

    id: int
    entry: str
    directory: str
    environment: dict[str, str]
    num_processes: int = 1


class Turn(NamedTuple):
    """What a contender is told to do next."""

    round: int
    num_steps: int
    """Optimizer steps to run; 0 ends its training, and it writes its result."""
    worst_batch: bool = False
    """With the end: whether the worst batch, if one was asked for, is still run."""


def turn_name(rank: int) -> str:
    """The FIFO that a rank reads its turns from."""
    return TURN if rank == 0 else f"{TURN}-{rank}"


def heartbeat_name(rank: int) -> str:
    """The file that a rank beats in; the parent watches that of rank 0."""
    return HEARTBEAT if rank == 0 else f"heartbeat-{rank}.json"


def result_name(rank: int) -> str:
    """The file that a rank writes its result to."""
    return RESULT if rank == 0 else f"result-{rank}.json"

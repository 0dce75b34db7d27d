"""What runner and server agree on: the tasks, the files of a folder, the lines between them. No torch.

A task works in a folder: ``request.json`` in, ``result.json`` out, ``log.txt`` beside them. The runner writes one JSON
line for each process that it wants, ``{"id", "entry", "directory", "environment", "num_processes"}``; the server
answers ``{"ready": true, ...}`` once it has loaded, ``{"id", "pid"}`` for each fork and ``{"id", "status"}`` (as from
``os.wait``) for each end. When the runner's end of the pipe closes, the server kills all that it has forked and ends.
"""

from typing import NamedTuple

REQUEST, RESULT, HEARTBEAT, LOG, TRIAL = "request.json", "result.json", "heartbeat.json", "log.txt", "trial.json"

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


def heartbeat_name(rank: int) -> str:
    """The file that a rank beats in; the parent watches that of rank 0."""
    return HEARTBEAT if rank == 0 else f"heartbeat-{rank}.json"


def result_name(rank: int) -> str:
    """The file that a rank writes its result to."""
    return RESULT if rank == 0 else f"result-{rank}.json"

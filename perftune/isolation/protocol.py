"""What runner and server agree on: the tasks and the lines between them. No torch.

A task works in a folder: ``request.json`` in, ``result.json`` out, ``log.txt`` beside them. The runner writes one JSON
line for each process that it wants, ``{"id", "entry", "directory", "environment", "num_processes"}``; the server
answers ``{"ready": true, ...}`` once it has loaded, ``{"id", "pid"}`` for each fork and ``{"id", "status"}`` (as from
``os.wait``) for each end. When the runner's end of the pipe closes, the server kills all that it has forked and ends.

A trial that runs in turns with others has two more files, both FIFOs: in ``turn`` the runner writes a JSON line for
each `Turn` (each rank has one of its own), in ``answer`` rank 0 writes one when the turn has been taken (`TurnTaken`).
"""

from typing import NamedTuple

DISK_FULL_STATUS = 74
"""Exit status of a process that could not write its result (EX_IOERR of sysexits.h); its log may be empty then."""

ENTRIES = {
    "trial": "perftune.measuring.trial:execute",
    "survey": "perftune.surveying.survey:execute",
    "round_trip": "perftune.workloads.round_trip:execute",
    "trace": "perftune.tracing.trace:execute",
}
"""Task -> ``module:function`` that takes the folder."""

PRELOAD = (
    "torch",
    "transformers.trainer",
    "transformers.models.auto.modeling_auto",
    "perftune.measuring.trial",
    "perftune.surveying.survey",
    "perftune.workloads.round_trip",
)
"""Imported once by the server. Not bitsandbytes: it initialises CUDA when imported."""

TRACING = "perftune.tracing.trace"
PRELOAD_TO_TRACE = (*PRELOAD, TRACING)
"""For a server that forks traces; fake tensors take a while to import."""


class ForkRequest(NamedTuple):
    """One process that the runner asks for."""

    id: int
    entry: str
    directory: str
    environment: dict[str, str]
    num_processes: int = 1

"""The files of a task's folder: a request in, a result out, and beside them what the task says while it runs."""

from typing import NamedTuple

REQUEST, RESULT, HEARTBEAT, LOG, TRIAL = "request.json", "result.json", "heartbeat.json", "log.txt", "trial.json"
TURN, ANSWER = "turn", "answer"


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

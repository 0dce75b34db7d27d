"""The files of a task's folder: a request in, a result out, and beside them what the task says while it runs."""

REQUEST, RESULT, HEARTBEAT, LOG, TRIAL = "request.json", "result.json", "heartbeat.json", "log.txt", "trial.json"


def heartbeat_name(rank: int) -> str:
    """The file that a rank beats in; the parent watches that of rank 0."""
    return HEARTBEAT if rank == 0 else f"heartbeat-{rank}.json"


def result_name(rank: int) -> str:
    """The file that a rank writes its result to."""
    return RESULT if rank == 0 else f"result-{rank}.json"

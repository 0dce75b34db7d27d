"""What trials of the fault tests do: each function is run as a trial and goes wrong in one way. No torch."""

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from perftune.files import write_atomically
from perftune.records.trial import Failure, Heartbeat, Measurement, MemoryPeak, Outcome, Steps, TrialResult

FOREVER = 600.0


def measurement(step_seconds: float = 0.01) -> Measurement:
    n = 4
    steps = Steps(
        **{name: (0.0,) * n for name in Steps.model_fields if name not in ("step_seconds", "num_samples")},
        step_seconds=(step_seconds,) * n,
        num_samples=(8,) * n,
    )
    memory = MemoryPeak(kind="resident", peak_bytes=1, start_bytes=1, train_bytes=1)
    return Measurement(
        steps=steps, num_warmup_steps=0, memory=memory, start_seconds=0.0, build_seconds=0.0, stopped_because="interval"
    )


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def write(directory: Path, result: TrialResult) -> None:
    name = "result.json" if rank() == 0 else f"result-{rank()}.json"
    write_atomically(directory / name, result.model_dump_json())


def beat(directory: Path, phase: str = "train") -> None:
    text = Heartbeat(phase=phase, num_steps=1, step_seconds=0.001).model_dump_json()
    write_atomically(directory / "heartbeat.json", text)


def told(kind: Outcome, message: str) -> TrialResult:
    return TrialResult(failure=Failure(kind=kind, message=message))


def leave_pid(directory: Path, name: str, pid: int) -> None:
    """Beside the trials, where a second attempt does not remove it."""
    path = directory.parent.parent / f"{name}.pids"
    with path.open("a", encoding="ascii") as file:
        file.write(f"{pid}\n")


def leave_files(directory: Path) -> None:
    """A temporary file, and a module of the user's that was imported; then somebody kills it."""
    tempfile.mkstemp()
    leave_pid(directory, "left", os.getpid())
    sys.path.insert(0, str(directory.parents[1]))
    importlib.import_module("module_of_the_user")
    if directory.name == "0001":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(FOREVER)


def complete(directory: Path) -> None:
    leave_pid(directory, "ran", os.getpid())
    write(directory, TrialResult(measurement=measurement()))


def complete_in_environment(directory: Path) -> None:
    names = ("OF_THE_CANDIDATE", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    text = "".join(f"{name}={os.environ.get(name, '')}\n" for name in names)
    (directory / f"environment-{rank()}.txt").write_text(text, encoding="utf-8")
    complete(directory)


def tell_of_garbage(directory: Path) -> None:
    told = json.dumps([gc.get_freeze_count(), gc.get_threshold()])
    (directory.parent.parent / "garbage.json").write_text(told, encoding="utf-8")
    complete(directory)


def kill_itself(directory: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_itself_once(directory: Path) -> None:
    """As somebody who ends processes by mistake."""
    leave_pid(directory, "ran", os.getpid())
    mark = directory.parent.parent / "killed"
    if not mark.exists():
        mark.touch()
        kill_itself(directory)
    write(directory, TrialResult(measurement=measurement()))


def end_itself(directory: Path) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def print_without_end(directory: Path) -> None:
    """So much more than a log may have that it is cut while it is written."""
    lines = "".join(f"line {number}\n" for number in range(100_000))
    for _ in range(40):
        sys.stdout.write(lines)
        sys.stdout.flush()
        time.sleep(0.02)
    sys.stdout.write("that was all\n")
    sys.stdout.flush()
    os._exit(3)


def segfault(directory: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def abort(directory: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.abort()


def bad_alloc(directory: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stderr.write("terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def use_all_memory(directory: Path) -> None:
    """A real cap, and more than it; nothing catches the error."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    bytearray(4 << 30)


def hang(directory: Path) -> None:
    leave_pid(directory, "hung", os.getpid())
    time.sleep(FOREVER)


def hang_with_family(directory: Path) -> None:
    """Deaf to SIGTERM, as is a child, a grandchild, and one that has left the group."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    command = [sys.executable, "-S", "-c", f"import time; time.sleep({FOREVER})"]
    nested = f"import subprocess, time; print(subprocess.Popen({command}).pid, flush=True); time.sleep({FOREVER})"
    children = [
        subprocess.Popen([sys.executable, "-S", "-c", nested], stdout=subprocess.PIPE),
        subprocess.Popen(command, start_new_session=True),
    ]
    for child in children:
        leave_pid(directory, "hung", child.pid)
    assert children[0].stdout is not None
    leave_pid(directory, "hung", int(children[0].stdout.readline()))
    beat(directory, "build")
    hang(directory)


def stall(directory: Path) -> None:
    beat(directory)
    hang(directory)


def say_nothing(directory: Path) -> None:
    """Status 0 and no result."""


def leave_at_once(directory: Path) -> None:
    sys.stdout.write("bye\n")
    sys.stdout.flush()
    os._exit(3)


def write_half(directory: Path) -> None:
    text = TrialResult(measurement=measurement()).model_dump_json()
    (directory / "result.json").write_text(text[: len(text) // 2], encoding="utf-8")


def raise_uncaught(directory: Path) -> None:
    raise RuntimeError("the label column is missing")


def tell_divergence(directory: Path) -> None:
    write(directory, told(Outcome.DIVERGED, "the loss is nan in step 3"))


def tell_unsupported(directory: Path) -> None:
    write(directory, told(Outcome.UNSUPPORTED, "no such kernel here"))


def fill_disk(directory: Path) -> None:
    with open("/dev/full", "w", encoding="ascii") as file:  # noqa: PTH123 (the device itself)
        file.write("result")


def fill_disk_with_log(directory: Path) -> None:
    """Neither the result nor a word in the log can be written."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    complete(directory)


def ranks_one_out_of_memory(directory: Path) -> None:
    if rank() == 1:
        write(directory, told(Outcome.OUT_OF_MEMORY, "rank 1 needs more"))
    else:
        complete(directory)


def ranks_one_segfaults(directory: Path) -> None:
    if rank() == 1:
        segfault(directory)
    complete(directory)


def ranks_one_fails_other_hangs(directory: Path) -> None:
    """What a collective does when a rank is gone."""
    if rank() == 1:
        write(directory, told(Outcome.CRASHED, "rank 1 raised"))
    else:
        hang(directory)


def kill_server_once(directory: Path) -> None:
    attempts = directory.parent.parent / "ran.pids"
    leave_pid(directory, "ran", os.getpid())
    if len(attempts.read_text(encoding="ascii").split()) == 1:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(FOREVER)
    write(directory, TrialResult(measurement=measurement()))


def kill_server(directory: Path) -> None:
    leave_pid(directory, "ran", os.getpid())
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(FOREVER)

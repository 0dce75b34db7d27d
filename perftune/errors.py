"""The exception tree: every class has one exit code, and every message says what happened, where, and what to do.

PerftuneError (1)
├── ProbeFileError (2)      the probe file is wrong: file, line, key, value seen, values allowed
├── WorkloadError (3)       the workload cannot be built or is not a Trainer
│   └── ArgumentsChangedError   it trains with other arguments than it was given
├── DeviceError (4)         the device asked for is not there
├── StudyMismatchError (5)  a study from another device, probe or library version
├── OutputExistsError (6)   something would be overwritten
├── NoCandidateError (7)    no candidate completed
├── StudyFileError (8)      a study cannot be read
├── IsolationError (9)      the trial server cannot start or has died
├── OutputWriteError (10)   the run folder cannot be written: disk full, read-only, no permission
│   └── NoRoomError             a trial found no room on a disk
└── Interrupted (130)       the user pressed Ctrl-C
"""

from typing import ClassVar

from perftune.printable import printable_lines


class PerftuneError(Exception):
    """Base of every error that a user can cause or mend.

    Args:
        message: what happened, where, and what to do next; one paragraph.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "") -> None:
        # Names that users and libraries gave are in it, and it is printed in a terminal, by us or as a traceback.
        super().__init__(printable_lines(message))


class ProbeFileError(PerftuneError):
    """The probe file is wrong."""

    exit_code = 2


class WorkloadError(PerftuneError):
    """The workload cannot be built, or what was built is not a Trainer that can be probed."""

    exit_code = 3


class ArgumentsChangedError(WorkloadError):
    """The workload trains with other arguments than it was given, so that no trial of it means what it says."""


class DeviceError(PerftuneError):
    """The device that the probe asks for is not on this machine."""

    exit_code = 4


class StudyMismatchError(PerftuneError):
    """The stored study was measured on something else, so its numbers cannot be mixed with new ones."""

    exit_code = 5


class OutputExistsError(PerftuneError):
    """Something the user may want to keep stands where the output should go."""

    exit_code = 6


class NoCandidateError(PerftuneError):
    """No candidate completed, so there is nothing to recommend."""

    exit_code = 7


class StudyFileError(PerftuneError):
    """A file that should hold a study does not."""

    exit_code = 8


class IsolationError(PerftuneError):
    """The process that trials are forked from cannot start or has died."""

    exit_code = 9


class OutputWriteError(PerftuneError):
    """The run folder cannot be written; what was written before is whole."""

    exit_code = 10


class NoRoomError(OutputWriteError):
    """A trial found no room on a disk; it is in no study, and is run again with the same command."""

    def __init__(self, message: str, needed_bytes: int | None = None) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes
        """Where it was the checkpoint: about what that takes."""


class Interrupted(PerftuneError):
    """The user pressed Ctrl-C; what was finished has been written."""

    exit_code = 130

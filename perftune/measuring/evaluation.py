"""A trained Trainer to the time of its evaluation: once, or with several batch sizes in turns, on the same samples.

Child side.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from torch.utils.data import Dataset
from transformers import Trainer

from perftune.records.trial import Evaluation
from perftune.workloads.worst_batch import num_rows

MAX_SAMPLES = 2000
NUM_ROUNDS = 3
"""In which every batch size has a turn; the order turns by one in each."""


def evaluate(trainer: Trainer, seconds: float) -> Evaluation:
    """Evaluate as many of the first samples as take no longer than this, with the user's own batch size.

    One batch is evaluated first, which says how many fit. Where it takes all of the time, as generating may, it is
    what was evaluated.

    Args:
        trainer: after training.
        seconds: for all of it, about.
    """
    size = trainer.args.per_device_eval_batch_size
    once = _evaluate_first(trainer, size)
    most = int(min(MAX_SAMPLES, size * (seconds - once.seconds) / once.seconds))
    return _evaluate_first(trainer, most) if once.num_samples == size < most else once


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    """End what the user's code does where it is, however it is written.

    Raises:
        TimeoutError: the time is over.
    """

    def over(*_: object) -> None:
        raise TimeoutError(f"it took longer than the {seconds:.0f} s that a trial gives to it")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _evaluate_first(trainer: Trainer, num_samples: int) -> Evaluation:
    """Evaluate the first samples with the batch size that the arguments have; seconds of wall time."""
    part, num_samples = _first(trainer, num_samples)
    begun = time.perf_counter()
    trainer.evaluate(eval_dataset=part)
    return Evaluation(
        num_samples=num_samples,
        seconds=time.perf_counter() - begun,
        per_device_eval_batch_size=trainer.args.per_device_eval_batch_size,
    )


def evaluate_in_turns(
    trainer: Trainer,
    sizes: Sequence[int],
    seconds: float,
    peak_bytes: Callable[[], int],
    is_out_of_memory: Callable[[BaseException], bool],
) -> tuple[Evaluation, ...]:
    """Evaluate the same samples with several batch sizes, round by round.

    The number of samples follows from the time: a batch size that has no whole batch in it is left out. One that runs
    out of memory ends there, and so do the larger ones.

    Args:
        trainer: after training.
        sizes: per device, ascending.
        seconds: for all of it.
        peak_bytes: the peak of memory since it was called last.
        is_out_of_memory: whether an exception says so.
    """
    _with_size(trainer, sizes[0])
    _evaluate_first(trainer, sizes[0])  # what is compiled or read for the first time is in no figure
    once = _evaluate_first(trainer, sizes[0])
    each = seconds / NUM_ROUNDS / len(sizes)
    most = int(each * once.num_samples / once.seconds)
    left = [size for size in sizes if size <= most] or [sizes[0]]
    num_samples = max(left[-1], min(most, MAX_SAMPLES) // left[-1] * left[-1])
    found: list[Evaluation] = []
    for number in range(NUM_ROUNDS):
        turn = number % len(left)
        for size in sorted(left) if number == 0 else (*left[turn:], *left[:turn]):
            if size in left:
                left = _evaluate_one(trainer, size, number, num_samples, left, found, peak_bytes, is_out_of_memory)
    complete = {one.per_device_eval_batch_size for one in found if one.round == NUM_ROUNDS - 1}
    return tuple(one for one in found if one.per_device_eval_batch_size in complete)


def _evaluate_one(
    trainer: Trainer,
    size: int,
    number: int,
    num_samples: int,
    left: list[int],
    found: list[Evaluation],
    peak_bytes: Callable[[], int],
    is_out_of_memory: Callable[[BaseException], bool],
) -> list[int]:
    """One turn; the sizes that are left after it."""
    _with_size(trainer, size)
    peak_bytes()
    try:
        one = _evaluate_first(trainer, num_samples)
    except Exception as error:
        if not is_out_of_memory(error) or size == left[0]:
            raise
        return [smaller for smaller in left if smaller < size]
    found.append(one.model_copy(update={"round": number, "peak_bytes": peak_bytes()}))
    return left


def _with_size(trainer: Trainer, size: int) -> None:
    trainer.args.per_device_eval_batch_size = size


def _first(trainer: Trainer, num_samples: int) -> tuple[Any, int]:
    """The first samples of the evaluation data, of each set alike where there are several; and how many that are."""
    dataset: Any = trainer.eval_dataset
    if not isinstance(dataset, dict):
        return _part(dataset, num_samples)
    of_each = math.ceil(num_samples / len(dataset))
    parts = {name: _part(one, of_each) for name, one in dataset.items()}
    return {name: part for name, (part, _) in parts.items()}, sum(number for _, number in parts.values())


def _part(dataset: Any, num_samples: int) -> tuple[Any, int]:
    length = num_rows(dataset)
    if length is None:
        rows = list(islice(iter(dataset), num_samples))
        return _First(rows, len(rows)), len(rows)
    num_samples = min(num_samples, length)
    if hasattr(dataset, "select"):
        return dataset.select(range(num_samples)), num_samples
    return _First(dataset, num_samples), num_samples


class _First(Dataset):  # type: ignore[type-arg]  # torch's stub wants the type of a row
    """The first samples of a map-style data set."""

    def __init__(self, dataset: Any, num_samples: int) -> None:
        self._dataset, self._num_samples = dataset, num_samples

    def __len__(self) -> int:
        return self._num_samples

    def __getitem__(self, index: int) -> Any:
        return self._dataset[index]

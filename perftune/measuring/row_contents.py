"""The train data of a Trainer to a digest of what a few rows hold, before they are collated. Child side.

Some Trainers make their rows in batches of the micro-batch's size (TRL's KTO pairs each prompt with the completion of
its neighbour in it), and so may a function of the user's: then another micro-batch trains on other data.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import Trainer

from perftune.workloads.worst_batch import num_rows

FEW = 4
"""Rows that are looked at, all over the data."""


def contents_digest(trainer: Trainer) -> str | None:
    """A digest of some rows; None of data without length, of rows that differ when they are read again, as where they
    are augmented, and of contents that are no numbers and texts.

    The random numbers that the rows draw are put back.
    """
    data: Any = trainer.train_dataset
    length = None if data is None else num_rows(data)
    if not length:
        return None
    try:
        with _random_numbers_put_back():
            first, again = (_digest([data[i * length // FEW] for i in range(FEW)]) for _ in range(2))
    except Exception:  # noqa: BLE001 (what the user's data set raises here is told where it trains)
        return None
    return first if first == again else None


def _digest(rows: Sequence[Any]) -> str:
    found = hashlib.blake2b(digest_size=8)
    for row in rows:
        for part in _parts(row):
            found.update(part)
    return found.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    """What a row is made of, as bytes.

    Raises:
        TypeError: of an object that has another address each time.
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().contiguous()
        yield str((value.dtype, tuple(value.shape))).encode()
        yield value.reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, np.ndarray):
        yield str((value.dtype, value.shape)).encode() + value.tobytes()
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield str(key).encode()
            yield from _parts(value[key])
    elif isinstance(value, list | tuple):
        yield f"[{len(value)}".encode()
        for one in value:
            yield from _parts(one)
    elif value is None or isinstance(value, str | bytes | int | float | np.generic):
        yield f"{type(value).__name__} {value!r}".encode()
    else:
        raise TypeError(f"{type(value).__name__} has no contents that are known")


@contextmanager
def _random_numbers_put_back() -> Iterator[None]:
    on_host, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (what data sets draw from)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(on_host)
        np.random.set_state(of_numpy)  # noqa: NPY002

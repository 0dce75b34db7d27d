"""A space of candidates becomes arrays: one row per candidate, one column per knob, ready for matrix algebra."""

import math
from collections.abc import Iterable
from functools import cached_property

import numpy as np
import numpy.typing as npt

from perftune.records.candidate import MICRO_BATCH, Candidate, Space

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int16]
Bools = npt.NDArray[np.bool_]


class Encoding:
    """The candidates of a space by number, in the order of ``Space.candidates()``, without building any."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.names = [knob.name for knob in space.knobs]
        self.values = [knob.values for knob in space.knobs]
        self._shape = tuple(len(values) for values in self.values)
        self._strides = [math.prod(self._shape[place + 1 :]) for place in range(len(self._shape))]
        self._places = [{(type(value), value): i for i, value in enumerate(values)} for values in self.values]
        columns = np.empty((len(self._shape), math.prod(self._shape)), dtype=np.int16)
        for column, size, stride in zip(columns, self._shape, self._strides, strict=True):
            column.reshape(-1, size, stride)[:] = np.arange(size, dtype=np.int16)[None, :, None]
        self.codes: Codes = columns.T
        """Candidate × knob: which value of the knob."""

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def micro_batch(self) -> Floats:
        """Samples per forward pass, of every candidate."""
        sizes = np.array([float(str(size)) for size in self.values[self.names.index(MICRO_BATCH)]])
        return sizes[self.column(MICRO_BATCH)]

    def column(self, name: str) -> Codes:
        """The codes of one knob, of every candidate."""
        return self.codes[:, self.names.index(name)]

    def number(self, candidate: Candidate) -> int | None:
        """The row of a candidate; None when it is not in the space."""
        settings = candidate.settings
        if settings.keys() != set(self.names):
            return None
        number = 0
        for name, places, stride in zip(self.names, self._places, self._strides, strict=True):
            place = places.get((type(settings[name]), settings[name]))
            if place is None:
                return None
            number += place * stride
        return number

    def candidate(self, number: int) -> Candidate:
        """The candidate in a row."""
        code = self.codes[number]
        return Candidate(
            settings={name: values[i] for name, values, i in zip(self.names, self.values, code, strict=True)}
        )

    def arm(self, number: int) -> Ints:
        """The rows that differ from this one in the micro-batch at most."""
        place = self.names.index(MICRO_BATCH)
        stride = self._strides[place]
        first = number - int(self.codes[number, place]) * stride
        return first + stride * np.arange(self._shape[place])

    def same_arm(self, number: int) -> Bools:
        """Which candidates differ from this one in the micro-batch at most."""
        same = np.zeros(len(self), dtype=bool)
        same[self.arm(number)] = True
        return same

    def equal(self, number: int, names: Iterable[str]) -> Bools:
        """Which candidates agree with this one in the given knobs."""
        same = np.ones(len(self), dtype=bool)
        for name in names:
            column = self.column(name)
            same &= column == column[number]
        return same

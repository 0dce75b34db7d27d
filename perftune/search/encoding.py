"""A space of candidates becomes arrays: one row per candidate, one column per knob, ready for matrix algebra."""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import numpy.typing as npt

from perftune.records.base import Setting
from perftune.records.candidate import MICRO_BATCH, Candidate, Space

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Encoding:
    """The candidates of a space by number, in the order of ``Space.candidates()``, without building any."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.names = [knob.name for knob in space.knobs]
        self.values = [knob.values for knob in space.knobs]
        shape = tuple(len(values) for values in self.values)
        self._shape = shape
        self.codes: Ints = np.indices(shape).reshape(len(shape), -1).T.astype(np.int64)
        """Candidate × knob: which value of the knob."""

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def micro_batch(self) -> Floats:
        """Samples per forward pass, of every candidate."""
        column = self.names.index(MICRO_BATCH)
        sizes = np.array([float(str(size)) for size in self.values[column]])
        return sizes[self.codes[:, column]]

    def column(self, name: str) -> Ints:
        """The codes of one knob, of every candidate."""
        return self.codes[:, self.names.index(name)]

    def number(self, candidate: Candidate) -> int | None:
        """The row of a candidate; None when it is not in the space."""
        if set(candidate.settings) != set(self.names):
            return None
        code = [_index(values, candidate.settings[name]) for name, values in zip(self.names, self.values, strict=True)]
        if any(index is None for index in code):
            return None
        return int(np.ravel_multi_index([index for index in code if index is not None], self._shape))

    def candidate(self, number: int) -> Candidate:
        """The candidate in a row."""
        code = self.codes[number]
        return Candidate(
            settings={name: values[i] for name, values, i in zip(self.names, self.values, code, strict=True)}
        )

    def same_arm(self, number: int) -> Bools:
        """Which candidates differ from this one in the micro-batch at most."""
        return self.equal(number, (name for name in self.names if name != MICRO_BATCH))

    def equal(self, number: int, names: Iterable[str]) -> Bools:
        """Which candidates agree with this one in the given knobs."""
        columns = [self.names.index(name) for name in names]
        same: Bools = (self.codes[:, columns] == self.codes[number, columns]).all(axis=1)
        return same


def _index(values: tuple[Setting, ...], value: Setting) -> int | None:
    matches = (i for i, known in enumerate(values) if type(known) is type(value) and known == value)
    return next(matches, None)

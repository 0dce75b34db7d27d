"""Pairs of candidates become prior covariances of each part's log seconds: what they share, as `priors` says."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from perftune.records.candidate import OPTIMIZER
from perftune.search.encoding import Bools, Codes, Encoding, Floats, Ints
from perftune.search.observations import PARTS
from perftune.search.priors import CURVE_OCTAVES, OPTIMIZER_FAMILY, Term, optimizer_family, terms


class Kernels:
    """Prior covariances between candidates.

    Args:
        encoding: of the space.
        centre: row whose micro-batch the lines turn about.
        is_traced: traces predict forward and backward.
        knows_rates: and what each precision runs at.
    """

    def __init__(self, encoding: Encoding, centre: int, *, is_traced: bool, knows_rates: bool) -> None:
        self._encoding = encoding
        octaves = np.log2(encoding.micro_batch)
        self._octaves: Floats = octaves - octaves[centre]
        self._terms = {
            part: terms(part, encoding.names, is_traced=is_traced, knows_rates=knows_rates) for part in PARTS
        }

    def covariance(self, part: str, a: Ints, b: Ints) -> Floats:
        """Of a part's log seconds between two lists of rows."""
        left, right = self._octaves[a][:, None], self._octaves[b][None, :]
        total = self._shared(self._shaped(part, ""), a, b)
        if lines := self._shaped(part, "line"):
            total += left * right * self._shared(lines, a, b)
        if curves := self._shaped(part, "curve"):
            total += np.exp(-0.5 * ((left - right) / CURVE_OCTAVES) ** 2) * self._shared(curves, a, b)
        return total

    def variance(self, part: str, rows: Ints) -> Floats:
        """Of a part's log seconds in each row."""
        line = sum(term.sd**2 for term in self._shaped(part, "line"))
        others = sum(term.sd**2 for term in self._terms[part] if term.batch != "line")
        return np.asarray(others + line * self._octaves[rows] ** 2, dtype=np.float64)

    def _shaped(self, part: str, batch: str) -> list[Term]:
        return [term for term in self._terms[part] if term.batch == batch]

    def _shared(self, terms: Sequence[Term], a: Ints, b: Ints) -> Floats:
        """Variance of the effects that two candidates share, their micro-batches aside."""
        shared: Floats = np.full((len(a), len(b)), sum(term.sd**2 for term in terms if not term.knobs), float)
        for term in terms:
            if term.knobs:
                shared += term.sd**2 * self._agree(term.knobs, a, b)
        return shared

    def _agree(self, knobs: Sequence[str], a: Ints, b: Ints) -> Bools:
        columns = [self._column(name) for name in knobs]
        agree: Bools = columns[0][a][:, None] == columns[0][b][None, :]
        for column in columns[1:]:
            agree &= column[a][:, None] == column[b][None, :]
        return agree

    def _column(self, name: str) -> Codes:
        """The codes of a knob, or of what its values have in common."""
        return self._families if name == OPTIMIZER_FAMILY else self._encoding.column(name)

    @cached_property
    def _families(self) -> Codes:
        values = self._encoding.values[self._encoding.names.index(OPTIMIZER)]
        families = [optimizer_family(value) for value in values]
        codes = np.array([families.index(family) for family in families], dtype=np.int16)
        return codes[self._encoding.column(OPTIMIZER)]

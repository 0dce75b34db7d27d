"""A surveyed probe to its prior, better after each trace: what traces on shapes say of candidates' memory and speed."""

import time
from collections.abc import Callable
from itertools import product

from perftune.errors import WorkloadError
from perftune.plan import Variant
from perftune.planning.trace_cache import TraceCache
from perftune.planning.traces import FEW_SIZES, TracingRunner, VariantTracer
from perftune.planning.variants import KNOBS, VariantKey, variant_key
from perftune.records.candidate import Candidate, Space
from perftune.records.prior import Predicted, Prior
from perftune.records.probe import ProbeSpec
from perftune.records.survey import Survey
from perftune.tuning.predictor import Predictor
from perftune.tuning.worth_tracing import WorthTracing, worth_tracing

AGAIN = 2.0
"""A trace that did not end within its seconds is begun again when there are so many times more."""


class PriorTracer:
    """Traces one variant after the other, when it is told to and as long as it is told, and says what is known then."""

    def __init__(
        self,
        probe: ProbeSpec,
        survey: Survey,
        space: Space,
        runner: TracingRunner,
        cache: TraceCache | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            probe: what trains.
            survey: of the device that is here.
            space: of the probe on it.
            runner: what traces; nothing else may run in it meanwhile.
            cache: of traces that other runs have made; None neither reads nor keeps any.
            clock: seconds; a test passes its own.
        """
        self.seconds = 0.0
        """What all steps took."""
        self._survey, self._space, self._objective, self._clock = survey, space, probe.objective, clock
        self._knobs = tuple(knob.name for knob in space.knobs if knob.name in KNOBS)
        self._groups = _by_variant(space, self._knobs)
        self._own = next(iter(self._groups))
        everyone = [candidate for members in self._groups.values() for candidate in members]
        self._tracer = VariantTracer(probe, survey, survey.device.kind, everyone, runner, cache, FEW_SIZES, clock)
        self._predictor = Predictor(probe, survey, self._knobs)
        self._traced: dict[VariantKey, Variant] = {}
        self._predicted: dict[VariantKey, list[Predicted]] = {}
        self._failed: dict[VariantKey, str] = {}
        self._looked_up: set[VariantKey] = set()
        self._longest = 0.0
        self._too_short: dict[VariantKey, float] = {}

    @property
    def is_done(self) -> bool:
        """Nothing is left that is worth a trace, however much time there is."""
        return not self._waiting()

    @property
    def failure(self) -> str | None:
        """Why nothing can be predicted; None while something may be."""
        if self._predicted or not self.is_done:
            return None
        return next(iter(self._failed.values()), "no candidate could be predicted")

    def step(self, seconds: float) -> Prior | None:
        """Take all that the cache has or, where that has nothing more, trace the next variant.

        A variant that cannot be traced costs its time, and the next one is tried; one that is not expected to end in
        time is not begun.

        Args:
            seconds: after which the step ends.

        Returns:
            What is known now; None if that is no more than before.
        """
        begun = self._clock()
        is_better = self._take_kept()
        while not is_better and (waiting := self._waiting()):
            left = begun + seconds - self._clock()
            if left <= 0 or self._expected(waiting[0]) > left:
                break
            is_better = self._trace(waiting[0], left)
        self.seconds += self._clock() - begun
        return self._prior() if is_better else None

    def run(self, seconds: float) -> Prior | None:
        """Step after step until nothing is worth a trace or so many seconds are over; None where nothing is known."""
        ends, prior = self._clock() + seconds, None
        while (better := self.step(ends - self._clock())) is not None:
            prior = better
        return prior

    def _worth(self) -> WorthTracing:
        own = self._predicted.get(self._own, ())
        return worth_tracing(self._groups.keys(), self._space, self._survey, self._objective, own)

    def _waiting(self) -> list[VariantKey]:
        """What is worth a trace and has none; nothing where the user's own step cannot be traced."""
        if self._own in self._failed:
            return []
        return [key for key in self._worth().order if key not in self._traced and key not in self._failed]

    def _expected(self, key: VariantKey) -> float:
        return max(self._longest, self._too_short.get(key, 0.0))

    def _take_kept(self) -> bool:
        """Whether the cache had anything new; what is worth a trace follows anew from each."""
        found = False
        while new := [key for key in self._waiting() if key not in self._looked_up]:
            self._looked_up.add(new[0])
            variant = self._tracer.kept(new[0], self._groups[new[0]])
            found |= variant is not None and self._learn(new[0], variant)
        return found

    def _trace(self, key: VariantKey, seconds: float) -> bool:
        begun = self._clock()
        try:
            is_better = self._learn(key, self._tracer.traced(key, self._groups[key], seconds))
        except WorkloadError as error:
            if self._clock() - begun >= seconds:
                self._too_short[key] = AGAIN * seconds
            else:
                self._failed[key] = str(error)
            return False
        self._longest = max(self._longest, self._clock() - begun)
        return is_better

    def _learn(self, key: VariantKey, variant: Variant) -> bool:
        predicted = self._predictor.of_traced(variant, self._groups[key])
        if not predicted:
            self._failed[key] = f"{key.title}: nothing follows from its trace"
            return False
        self._traced[key], self._predicted[key] = variant, predicted
        self._tracer.keep_peaks(key, variant)
        return True

    def _prior(self) -> Prior:
        predicted = [one for known in self._predicted.values() for one in known]
        for key, candidates in self._groups.items():
            if key not in self._traced:
                predicted += self._predictor.of_others(key, candidates, self._traced)
        on_cuda = self._survey.device.kind == "cuda"
        return Prior(
            knobs=self._knobs,
            predicted=tuple(predicted),
            runs_ahead=on_cuda,
            has_rates=bool(self._survey.flops_per_second) or on_cuda,
            seconds=self.seconds,
            notes=self._notes(),
        )

    def _notes(self) -> tuple[str, ...]:
        left_out = {key: reason for key, reason in self._worth().left_out.items() if key not in self._traced}
        late = len(self._waiting())
        said = [f"{late} of {len(self._groups)} variants were not traced: no time was left for them"] if late else []
        return tuple(dict.fromkeys([*left_out.values(), *self._failed.values(), *said]))


def _by_variant(space: Space, knobs: tuple[str, ...]) -> dict[VariantKey, list[Candidate]]:
    """One candidate for each setting of the traced knobs, by the trace that it needs; the user's own variant first."""
    assert space.device is not None
    groups: dict[VariantKey, list[Candidate]] = {variant_key(space.base, space.device): []}
    values = {knob.name: knob.values for knob in space.knobs}
    for settings in product(*(values[name] for name in knobs)):
        candidate = space.base.replace(**dict(zip(knobs, settings, strict=True)))
        groups.setdefault(variant_key(candidate, space.device), []).append(candidate)
    return groups

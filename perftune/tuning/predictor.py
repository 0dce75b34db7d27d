"""A traced variant, or the nearest one where a candidate's own was not traced, to what is predicted of candidates."""

from collections.abc import Iterable, Mapping, Sequence

from perftune.catalogue import gpu_of, load_catalogue
from perftune.plan import Prediction, Setup, Variant, predict_on_cpu, predict_on_gpu
from perftune.plan.tapes import DifferentTapesError
from perftune.planning.variants import HALF, VariantKey
from perftune.records.base import Setting
from perftune.records.candidate import Candidate
from perftune.records.prior import Predicted
from perftune.records.probe import ProbeSpec
from perftune.records.survey import Survey
from perftune.records.trace import Ops

RECOMPUTED = 4 / 3
"""Forward and backward with checkpointing over those without: a forward pass is half of a backward one, and is run
twice (https://arxiv.org/abs/1604.06174)."""
SAVED = 0.75
"""Peak with checkpointing over that without, where only one of them was traced: it takes half of what grows with the
micro-batch, which is half of it all. The search expects as much where there is no prediction."""


class Predictor:
    """Predicts candidates of one study."""

    def __init__(self, probe: ProbeSpec, survey: Survey, knobs: Sequence[str]) -> None:
        """
        Args:
            probe: its global batch and devices.
            survey: of the device that is here.
            knobs: of the space, those that a trace can tell of.
        """
        self._knobs, self._device, self._flops_per_second = tuple(knobs), survey.device, survey.flops_per_second
        self._setup = Setup(
            global_batch_size=probe.global_batch_size,
            num_devices=probe.target.count,
            sharding="ddp" if probe.target.count > 1 else "none",
            num_tokens_by_percent=survey.num_tokens_by_percent,
            mean_num_tokens=survey.mean_num_tokens,
        )
        self._gpu = gpu_of(survey.device, load_catalogue()) if survey.device.kind == "cuda" else None

    def of_traced(self, variant: Variant, candidates: Iterable[Candidate]) -> list[Predicted]:
        """Of candidates of this variant; those that it says nothing of are left out."""
        return [self._predicted(c, found) for c in candidates if (found := self._predict(variant, c)) is not None]

    def of_others(
        self, wanted: VariantKey, candidates: Iterable[Candidate], traced: Mapping[VariantKey, Variant]
    ) -> list[Predicted]:
        """Of candidates of a variant that was not traced: as the nearest that was, with what is known to differ.

        Products are in the precision that is wanted, and checkpointing repeats the forward pass. What half precision
        and other attention do to the peak is not known, and left at nothing.
        """
        nearest = max(traced, key=lambda known: _likeness(known, wanted))
        variant = traced[nearest]
        if nearest.is_half != wanted.is_half:
            variant = in_precision(variant, half=wanted.is_half)
        times = int(wanted.checkpointing) - int(nearest.checkpointing)
        found = []
        for candidate in candidates:
            prediction = self._predict(variant, candidate)
            if prediction is not None:
                found.append(self._predicted(candidate, _checkpointed(prediction, times), is_traced=False))
        return found

    def _predicted(self, candidate: Candidate, prediction: Prediction, *, is_traced: bool = True) -> Predicted:
        settings: dict[str, Setting] = {name: candidate.settings[name] for name in self._knobs}
        return Predicted(settings=settings, is_traced=is_traced, **prediction._asdict())

    def _predict(self, variant: Variant, candidate: Candidate) -> Prediction | None:
        try:
            if self._device.kind == "cpu":
                return predict_on_cpu(variant, candidate, self._setup, self._flops_per_second)
            return predict_on_gpu(variant, self._gpu, candidate, self._setup)
        except (DifferentTapesError, KeyError):
            return None


def _likeness(known: VariantKey, wanted: VariantKey) -> tuple[bool, ...]:
    """What changes the peak most comes first."""
    return (
        known.checkpointing == wanted.checkpointing,
        known.attention == wanted.attention,
        known.is_half == wanted.is_half,
    )


def _checkpointed(prediction: Prediction, times: int) -> Prediction:
    """With checkpointing put on (1), taken off (-1), or as it is (0)."""
    kernels, host = prediction.kernel_seconds, prediction.host_seconds
    return prediction._replace(
        peak_memory_bytes=round(prediction.peak_memory_bytes * SAVED**times),
        kernel_seconds=None if kernels is None else kernels * RECOMPUTED**times,
        host_seconds=None if host is None else host * RECOMPUTED**times,
    )


def in_precision(variant: Variant, *, half: bool) -> Variant:
    """The variant with its products in half precision, or in fp32; what it allocates stays as it was traced."""
    steps = tuple(
        step.model_copy(update={"tape": step.tape.model_copy(update={"ops": _in_dtype(step.tape.ops, half=half)})})
        for step in variant.trace.steps
    )
    return Variant(variant.trace.model_copy(update={"steps": steps}), variant.known_peaks)


def _in_dtype(ops: Ops, *, half: bool) -> Ops:
    def meant(dtype: str, flops: float) -> str:
        if not flops or (dtype == "fp32") != half:
            return dtype
        return "bf16" if half else "fp32" if dtype in HALF else dtype

    return ops.model_copy(update={"dtype": tuple(map(meant, ops.dtype, ops.flops))})

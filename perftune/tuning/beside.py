"""What contenders have needed so far to the answer whether they can live side by side in the memory of this machine."""

from collections.abc import Sequence

from perftune.devices import host
from perftune.records.candidate import Candidate
from perftune.records.study import Study
from perftune.units import GIB, MIB

PROCESS_BYTES = {"cpu": 300 * MIB, "cuda": 1.5 * GIB}
"""What a process holds beside its measured peak: private pages of the interpreter and its libraries; on CUDA the
context, 0.5 to 1.4 GB by GPU and version."""
MARGIN = 1.1
"""Peaks of equal runs differ, and those of a twin that has never run are guessed from its neighbours."""
MOST_ALIVE = 8


def fit_beside(study: Study, candidates: Sequence[Candidate], available_bytes: int | None = None) -> bool:
    """Whether all of them fit beside one another, each at its peak.

    Args:
        study: with the trials so far.
        candidates: who would live side by side.
        available_bytes: of the machine; None asks the system (CPU), or takes the GPU's memory.
    """
    kind = study.survey.device.kind
    if available_bytes is None:
        available_bytes = host.available_memory_bytes() if kind == "cpu" else study.survey.device.memory_bytes
    ranks_on_one_memory = study.space.num_devices if kind == "cpu" else 1
    needed = sum(MARGIN * _peak_bytes(study, one) + PROCESS_BYTES[kind] for one in candidates)
    return len(candidates) <= MOST_ALIVE and ranks_on_one_memory * needed <= available_bytes


def _peak_bytes(study: Study, candidate: Candidate) -> float:
    """The largest measured peak, or what is predicted; of what is unknown all that a trial may take."""
    peaks = [t.measurement.memory.peak_bytes for t in study.of(candidate) if t.measurement is not None]
    prior = study.space.prior
    predicted = prior.of(candidate.settings) if prior else None
    if peaks:
        return max(peaks)
    limit = study.space.memory_limit_bytes
    return min(limit, predicted.peak_memory_bytes) if predicted else limit

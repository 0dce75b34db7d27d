"""Traced variants and a GPU to the largest micro-batch that fits, for each combination of the other knobs."""

from collections.abc import Mapping
from dataclasses import replace

from perftune.plan import Setup, Variant, estimate
from perftune.planning.variants import VariantKey, variant_key
from perftune.records.candidate import MICRO_BATCH, OPTIMIZER, Candidate, Space
from perftune.records.estimate import Estimate, LargestBatch
from perftune.records.gpu import Gpu

MAX_MICRO_BATCH = 2**16
"""Where the search for the largest ends."""


def largest_batches(
    variants: Mapping[VariantKey, Variant | str], gpu: Gpu, space: Space, setup: Setup
) -> list[LargestBatch]:
    """One for each combination of the knobs but the micro-batch that could be traced."""
    assert space.device is not None
    arms = {candidate.arm: candidate for candidate in space.candidates()}
    found = []
    for candidate in arms.values():
        variant = variants[variant_key(candidate, space.device)]
        if not isinstance(variant, str) and _is_traced(variant, candidate):
            found.append(_largest(variant, gpu, candidate, setup))
    return found


def _is_traced(variant: Variant, candidate: Candidate) -> bool:
    return str(candidate.settings[OPTIMIZER]) in variant.optimizers and variant.tapes.rest is not None


def _largest(variant: Variant, gpu: Gpu, candidate: Candidate, setup: Setup) -> LargestBatch:
    """Doubled until it does not fit, then halved in between."""

    def at(size: int) -> Estimate:
        alone = replace(setup, global_batch_size=size * setup.num_devices)
        return estimate(variant, gpu, candidate.replace(**{MICRO_BATCH: size}), alone)

    best, too_large = None, 1
    while too_large <= MAX_MICRO_BATCH and (tried := at(too_large)).fits:
        best, too_large = tried, 2 * too_large
    if best is None:
        return LargestBatch(gpu=gpu.name, candidate=tried.candidate, micro_batch=None, memory=tried.memory)
    while too_large - best.candidate.micro_batch > 1:
        tried = at((best.candidate.micro_batch + too_large) // 2)
        if tried.fits:
            best = tried
        else:
            too_large = tried.candidate.micro_batch
    return LargestBatch(
        gpu=gpu.name, candidate=best.candidate, micro_batch=best.candidate.micro_batch, memory=best.memory
    )

"""Prediction: what a training would need and how fast it would be on a device that is not there. Pure: no processes."""

from perftune.plan.estimate import Setup, Variant, estimate

__all__ = ["Setup", "Variant", "estimate"]

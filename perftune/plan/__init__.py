"""Prediction: what a training would need and how fast it would be on a device that is not there. Pure: no processes."""

from perftune.plan.cpu_prediction import predict_on_cpu
from perftune.plan.estimate import Setup, Variant, estimate
from perftune.plan.prediction import Prediction, predict_on_gpu

__all__ = ["Prediction", "Setup", "Variant", "estimate", "predict_on_cpu", "predict_on_gpu"]

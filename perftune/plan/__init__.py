"""Prediction: what a training would need and how fast it would be on a device that is not there."""

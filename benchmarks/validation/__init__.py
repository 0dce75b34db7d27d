"""Predictions of `perftune plan` against figures that others measured on GPUs and published."""

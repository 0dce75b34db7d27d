"""Workloads: what a probe names to the user's Trainer, its batches and its arguments. Child side."""

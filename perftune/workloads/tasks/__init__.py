"""A model, a task and data, declared without code, to the Trainer that trains them. Child side."""

from perftune.workloads.tasks.build import build_from_model

__all__ = ["build_from_model"]

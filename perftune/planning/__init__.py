"""A workload to its traces, and a probe to the plan of what it would need on GPUs that are not here."""

from perftune.planning.probe_plan import plan
from perftune.planning.trace_cache import TraceCache

__all__ = ["TraceCache", "plan"]

"""The loop: a probe and a folder to a study with a recommendation; what was measured is never lost nor run twice."""

from perftune.tuning.observer import Observer, SilentObserver
from perftune.tuning.probe_study import probe_study

__all__ = ["Observer", "SilentObserver", "probe_study"]

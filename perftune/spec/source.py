"""A probe to what trains, as a child process needs it."""

from pathlib import Path

from perftune.records.probe import ProbeSpec
from perftune.records.trial import WorkloadSource


def workload_source(probe: ProbeSpec) -> WorkloadSource:
    """What trains; relative paths of the user's code start from the folder of the probe file, if it is of one."""
    path = Path(probe.source_path)
    return WorkloadSource(
        build=probe.build,
        model=probe.workload.model_dump(mode="json") if probe.workload else None,
        working_directory=str(path.parent if path.is_absolute() else Path.cwd()),
        trust_remote_code=probe.trust_remote_code,
    )

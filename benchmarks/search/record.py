"""Record the landscape of a probe: run every candidate of its space, in shuffled order, and keep all that was measured.

python -m benchmarks.search.record probes/x.yaml --out benchmarks/search/landscapes/x.json

Candidates near the best, or whose runs disagree, are run more often. A reference candidate (the user's own) is run
again every few trials, so that the drift of the machine can be seen and taken out. The file is written after every
trial; the same command goes on where it was interrupted.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.search.landscape import Landscape, compact, next_to_record, read, shrink, write
from perftune.isolation.runner import ForkServerRunner
from perftune.records.candidate import ATTENTION, CUDA_ALLOCATOR, Candidate, Knob, Space
from perftune.records.probe import ProbeSpec
from perftune.records.survey import Survey, SurveyRequest
from perftune.records.trial import Purpose, StopRule, TrialRequest, WorkloadSource
from perftune.search import build_space
from perftune.spec import load_probe

STOP = StopRule(min_steps=3, max_steps=6, max_seconds=3.0, relative_half_width=0.03)


def main(arguments: Sequence[str] | None = None) -> None:
    """Record one landscape from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probe", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--max-candidates", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=2, help="runs of each candidate")
    parser.add_argument("--hold", nargs="*", default=[], metavar="KNOB", help="knobs kept at the user's own value")
    parser.add_argument("--deadline-seconds", type=float, default=120.0, help="of one trial")
    options = parser.parse_args(arguments)
    probe = load_probe(options.probe)
    with tempfile.TemporaryDirectory() as directory, ForkServerRunner(Path(directory)) as runner:
        survey = runner.survey(survey_request(probe))
        landscape = _start(options.out, probe, survey, options)
        while (candidate := next_to_record(landscape, options.repeats)) is not None:
            number = len(landscape.trials)
            request = trial_request(probe, survey, candidate, number, options.deadline_seconds)
            request = request.model_copy(update={"memory_limit_bytes": landscape.space.memory_limit_bytes})
            trial = compact(runner.run(request))
            landscape = landscape.model_copy(update={"trials": (*landscape.trials, trial)})
            write(landscape, options.out)
            print(f"{number + 1} {trial.outcome.value} {trial.wall_seconds:.1f} s {candidate.key}", flush=True)


def _start(path: Path, probe: ProbeSpec, survey: Survey, options: argparse.Namespace) -> Landscape:
    if path.exists():
        landscape = read(path)
        if landscape.device.name != survey.device.name or landscape.versions != survey.versions:
            raise SystemExit(f"{path}: recorded on another device or other versions; name another file")
        return _widened(landscape, _space(probe, survey, options))
    return Landscape(
        workload=probe.name, device=survey.device, versions=survey.versions, space=_space(probe, survey, options)
    )


def _widened(landscape: Landscape, space: Space) -> Landscape:
    """The landscape over a larger space, if that holds all of its own: what was run is not run again."""
    known = {knob.name: set(knob.values) for knob in landscape.space.knobs}
    values = {knob.name: set(knob.values) for knob in space.knobs}
    is_larger = known.keys() == values.keys() and all(known[name] <= values[name] for name in known)
    return landscape.model_copy(update={"space": space}) if is_larger else landscape


def _space(probe: ProbeSpec, survey: Survey, options: argparse.Namespace) -> Space:
    space = build_space(probe, survey)
    knobs = tuple(
        Knob(name=knob.name, values=(space.base.settings[knob.name],)) if knob.name in options.hold else knob
        for knob in space.knobs
    )
    return shrink(space.model_copy(update={"knobs": knobs}), options.max_candidates)


def workload_source(probe: ProbeSpec) -> WorkloadSource:
    """What trains, as the trials take it."""
    return WorkloadSource(
        build=probe.build,
        model=probe.workload.model_dump(mode="json") if probe.workload else None,
        working_directory=str(Path(probe.source_path).parent),
        trust_remote_code=probe.trust_remote_code,
    )


def survey_request(probe: ProbeSpec) -> SurveyRequest:
    """The question before the first trial."""
    return SurveyRequest(
        workload=workload_source(probe),
        arguments=probe.training_arguments,
        global_batch_size=probe.global_batch_size,
        device="cpu" if probe.target.device == "auto" else probe.target.device,
        num_devices=probe.target.count,
        memory_limit_bytes=probe.target.memory_bytes,
        knobs=probe.knobs,
    )


def trial_request(
    probe: ProbeSpec, survey: Survey, candidate: Candidate, number: int, deadline_seconds: float
) -> TrialRequest:
    """One short trial of a candidate, with the worst batch of the data."""
    attention = candidate.settings.get(ATTENTION)
    allocator = candidate.settings.get(CUDA_ALLOCATOR)
    overlay = candidate.training_arguments(probe.global_batch_size, probe.target.count)
    return TrialRequest(
        number=number,
        purpose=Purpose.SEARCH,
        candidate=candidate,
        workload=workload_source(probe),
        arguments={**probe.training_arguments, **overlay},
        attn_implementation=str(attention) if attention else None,
        environment={"PYTORCH_CUDA_ALLOC_CONF": str(allocator)} if allocator else {},
        device=survey.device.kind,
        memory_limit_bytes=probe.target.memory_bytes,
        stop=STOP,
        deadline_seconds=deadline_seconds,
        worst_batch=tuple(sample.index for sample in survey.worst_samples[: candidate.micro_batch]),
    )


if __name__ == "__main__":
    main()

"""Add to recorded landscapes what traces predict of their candidates, as a study has it before its first trial.

python -m benchmarks.search.predict benchmarks/search/landscapes/*.json

The probe of the landscape's name is traced on this machine, which decides nothing: shapes are the same everywhere. What
each precision reaches was not measured where the landscapes were recorded, so only proportions are predicted.
"""

import argparse
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.search.landscape import Landscape, read, write
from benchmarks.search.record import survey_request
from perftune.isolation.runner import ForkServerRunner
from perftune.planning.traces import tracing_runner
from perftune.spec import load_probe
from perftune.tuning.prior import PriorTracer

PROBES = Path(__file__).parents[2] / "probes"


def with_prior(landscape: Landscape, runner: ForkServerRunner) -> Landscape:
    """The landscape with predictions in its space.

    Raises:
        SystemExit: nothing could be predicted.
    """
    probe = load_probe(PROBES / f"{landscape.workload}.yaml")
    survey = runner.survey(survey_request(probe).model_copy(update={"weightless": True}))
    survey = survey.model_copy(update={"device": landscape.device, "flops_per_second": {}})
    tracer = PriorTracer(probe, survey, landscape.space, runner)
    prior = tracer.run(math.inf)
    if prior is None:
        raise SystemExit(f"{landscape.workload}: {tracer.failure}")
    return landscape.model_copy(update={"space": landscape.space.model_copy(update={"prior": prior})})


def main(arguments: Sequence[str] | None = None) -> None:
    """Predict from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landscapes", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    for path in options.landscapes:
        with tempfile.TemporaryDirectory() as name, tracing_runner(Path(name)) as runner:
            landscape = with_prior(read(path), runner)
        write(landscape, path)
        assert landscape.space.prior is not None
        print(f"{path.stem}: {len(landscape.space.prior.predicted)} predictions", flush=True)


if __name__ == "__main__":
    main()

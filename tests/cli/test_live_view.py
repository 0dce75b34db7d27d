"""The view that is redrawn: what runs, the best so far, memory against the limit, what is left of the budget."""

import io
import re

from rich.console import Console

from perftune.cli.live_view import LiveView
from perftune.records.trial import Heartbeat, Purpose, TrialRequest, WorkloadSource
from tests.studies import TUNED, tuned_study


def test_the_live_view_shows_what_runs() -> None:
    study = tuned_study()
    console = Console(file=io.StringIO(), width=140, color_system=None)
    view = LiveView(console)
    view.on_phase("race", "3 contenders in turns")
    view.on_survey(study)
    source = WorkloadSource(build="/a.py:build", working_directory="/")
    request = TrialRequest(number=14, purpose=Purpose.RACE, candidate=TUNED, workload=source, arguments={})
    view.on_trial_start(study, request)
    view.on_heartbeat(Heartbeat(phase="train", num_steps=5, step_seconds=0.25, memory_bytes=2**30))
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for said in ("1 earlier trials", "race  3 contenders", "train, 5 steps of 250.0 ms", "1.00 GiB of 2.00 GiB"):
        assert said in text
    assert re.search(r"best +13[23] samples/s, 1\.7\d× yours", text)
    assert re.search(r"left +at most 13 min \d+ s, 87 trials", text)


def test_time_that_no_trial_took_is_spent_too() -> None:
    console = Console(file=io.StringIO(), width=140, color_system=None)
    view = LiveView(console)
    view.on_survey(tuned_study().model_copy(update={"spent_seconds": 600.0}))
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    assert "at most 5 min 0 s" in console.file.getvalue()


def test_what_is_named_is_shown_as_it_is() -> None:
    console = Console(file=io.StringIO(), width=300, color_system=None)
    view = LiveView(console)
    view.on_phase("race", "[red]3[/red] \x1b[2J contenders")
    study = tuned_study()
    hostile = study.trials[4].model_copy(update={"candidate": TUNED.replace(optim="[bold]\x1b[31mx")})
    view.on_survey(study.model_copy(update={"trials": (hostile,)}))
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "\x1b" not in text
    assert "[red]3[/red] contenders" in text
    assert "[bold]x" in text

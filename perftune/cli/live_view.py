"""Trials to a view that is redrawn while they run: the last ones, the best, memory against the limit, time left."""

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from perftune.cli.trial_text import changes, memory, one_line, rate
from perftune.records.study import Study
from perftune.records.summary import samples_per_second, score
from perftune.records.trial import Heartbeat, Purpose, Trial, TrialRequest
from perftune.units import format_bytes, format_rate, format_seconds

NUM_SHOWN = 12
REFRESH_PER_SECOND = 4


class LiveView:
    """Draws the study as it grows. Use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._study: Study | None = None
        self._requests: Sequence[TrialRequest] = ()
        self._heartbeat: Heartbeat | None = None
        self._phase = Text("starting")
        self._live = Live(
            self, console=console or Console(highlight=False), refresh_per_second=REFRESH_PER_SECOND, transient=True
        )

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __rich__(self) -> RenderableType:
        """What is on the screen now."""
        if self._study is None:
            return self._phase
        parts: list[RenderableType] = [_trials(self._study), Text(), self._phase]
        if self._requests:
            parts += [self._running(self._study, request) for request in self._requests]
            parts.append(_memory_bar(self._study, self._heartbeat))
        parts += [_best(self._study), _budget(self._study)]
        return Group(*parts)

    def on_phase(self, phase: str, text: str) -> None:
        """A phase begins."""
        self._phase = Text.assemble((one_line(phase), "bold"), "  ", one_line(text))

    def on_survey(self, study: Study) -> None:
        """The workload is known."""
        self._study = study

    def on_trial_start(self, study: Study, request: TrialRequest) -> None:
        """A trial begins."""
        self._study, self._requests, self._heartbeat = study, (request,), None

    def on_heat_start(self, study: Study, requests: Sequence[TrialRequest]) -> None:
        """Trials that take turns begin."""
        self._study, self._requests, self._heartbeat = study, requests, None

    def on_heartbeat(self, heartbeat: Heartbeat) -> None:
        """The running trial is alive."""
        self._heartbeat = heartbeat

    def on_trial_end(self, study: Study, trial: Trial) -> None:  # noqa: ARG002 (it is in the study)
        """A trial ended."""
        self._study, self._requests, self._heartbeat = study, (), None

    def on_done(self, study: Study) -> None:
        """The study has its recommendation."""
        self._study, self._requests, self._heartbeat = study, (), None

    def _running(self, study: Study, request: TrialRequest) -> Text:
        heartbeat = self._heartbeat
        state = "starting" if len(self._requests) == 1 else "in turns"
        if heartbeat is not None:
            state = heartbeat.phase.replace("_", " ")
            if heartbeat.num_steps:
                state += f", {heartbeat.num_steps} steps"
            if heartbeat.step_seconds is not None:
                state += f" of {format_seconds(heartbeat.step_seconds)}"
        return Text.assemble(
            (f"trial {request.number}  ", "cyan"), changes(request.candidate, study), f"  {one_line(state)}"
        )


def _trials(study: Study) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name, justify in (("#", "right"), ("why", "left"), ("settings", "left"), ("speed", "right"), ("peak", "right")):
        table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=name != "settings")
    if len(study.trials) > NUM_SHOWN:
        table.add_row("", "", Text(f"{len(study.trials) - NUM_SHOWN} earlier trials", "dim"), "", "")
    for trial in study.trials[-NUM_SHOWN:]:
        style = "" if trial.measurement is not None else "yellow"
        said = Text(changes(trial.candidate, study))
        table.add_row(str(trial.number), trial.purpose.value, said, Text(rate(trial), style), memory(trial))
    return table


def _memory_bar(study: Study, heartbeat: Heartbeat | None) -> RenderableType:
    limit_bytes = study.space.memory_limit_bytes
    used_bytes = heartbeat.memory_bytes if heartbeat is not None else None
    row = Table.grid(padding=(0, 1))
    style = "red" if (used_bytes or 0) > study.space.usable_memory_bytes else "green"
    bar = ProgressBar(total=limit_bytes, completed=min(used_bytes or 0, limit_bytes), width=30, complete_style=style)
    said = "–" if used_bytes is None else format_bytes(used_bytes)
    row.add_row(Text("memory", "dim"), bar, f"{said} of {format_bytes(limit_bytes)}")
    return row


def _best(study: Study) -> Text:
    objective = study.probe.objective
    done = [
        trial
        for trial in study.completed(Purpose.SEARCH, Purpose.RACE)
        if trial.measurement is not None and trial.measurement.memory.peak_bytes <= study.space.usable_memory_bytes
    ]
    if not done:
        return Text.assemble(("best    ", "dim"), "none yet")
    best = max(done, key=lambda trial: score(trial, objective))
    assert best.measurement is not None
    # The user's fastest run: a slow first one would flatter whatever came after it.
    own = [samples_per_second(t.measurement) for t in study.of(study.space.base) if t.measurement is not None]
    against = ""
    if own and best.candidate != study.space.base:
        against = f", {samples_per_second(best.measurement) / max(own):.2f}× yours"
    return Text.assemble(
        ("best    ", "dim"),
        (format_rate(samples_per_second(best.measurement), "samples") + against, "bold green"),
        f", {memory(best)}: {changes(best.candidate, study)}",
    )


def _budget(study: Study) -> Text:
    budget = study.probe.budget
    spent_seconds = max(study.spent_seconds, sum(trial.wall_seconds for trial in study.trials))
    left = max(budget.minutes * 60 - spent_seconds, 0)
    return Text.assemble(
        ("left    ", "dim"), f"at most {format_seconds(left)}, {max(budget.trials - len(study.trials), 0)} trials"
    )

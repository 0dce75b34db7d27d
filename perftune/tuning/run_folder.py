"""A probe to the folder that its study goes in: the newest unfinished run of the same probe, or the next number."""

import re
from dataclasses import dataclass
from pathlib import Path

from perftune.errors import OutputExistsError, StudyFileError
from perftune.records.probe import ProbeSpec
from perftune.records.study import Study
from perftune.tuning.directory import STUDY, stored_study

RUNS = Path("runs")
OUTPUTS = ("training_args.yaml", "training_args.json", "training_args.best_so_far.yaml", "report.md", "report.html")


@dataclass(frozen=True)
class RunFolder:
    """Where a study goes, and whether one that stopped goes on there."""

    directory: Path
    resumed: bool
    """An unfinished study of this probe is in it."""


def run_folder(
    probe: ProbeSpec, *, strategy: str = "model", out: Path | None = None, force: bool = False, runs: Path = RUNS
) -> RunFolder:
    """The folder for a probe.

    Args:
        probe: what is probed.
        strategy: a run with another strategy is not gone on with.
        out: the folder that the user named.
        force: begin anew; without `out`, take the next number even if a run stopped.
        runs: where numbered folders are.

    Raises:
        OutputExistsError: the named folder is something else than a run folder or an empty one.
    """
    if out is not None:
        _refuse_what_is_not_ours(out, force)
        study = None if force else _readable(out)
        return RunFolder(out, study is not None and not study.is_finished)
    name = re.sub(r"[^\w.-]+", "-", probe.name).strip("-.") or "probe"
    taken = _numbered(runs, name)
    for number in sorted(taken, reverse=True):
        study = None if force else _readable(taken[number])
        if study is not None and study.probe_sha256 == probe.sha256 and study.strategy == strategy:
            if not study.is_finished:
                return RunFolder(taken[number], True)
            break
    return RunFolder(runs / f"{name}-{max(taken, default=0) + 1}", False)


def _refuse_what_is_not_ours(out: Path, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise OutputExistsError(f"{out} is a file; name a folder with --out.")
    if not out.is_dir() or (out / STUDY).exists():
        return
    there = sorted(path.name for path in out.iterdir())
    if force and there:
        raise OutputExistsError(f"{out} holds other files and no {STUDY}, so it is not begun anew; name a new folder.")
    ours = [name for name in OUTPUTS if name in there]
    if ours:
        raise OutputExistsError(
            f"{out / ours[0]} is there already and of no study here; name another folder with --out."
        )


def _readable(directory: Path) -> Study | None:
    try:
        return stored_study(directory)
    except StudyFileError:
        return None


def _numbered(runs: Path, name: str) -> dict[int, Path]:
    found = {}
    for path in runs.glob(f"{name}-*") if runs.is_dir() else ():
        number = path.name[len(name) + 1 :]
        if number.isdecimal() and path.is_dir():
            found[int(number)] = path
    return found

"""A run folder to the study in it: begun, gone on with, or refused when it was measured on something else."""

from pathlib import Path

from perftune.errors import OutputExistsError, StudyFileError, StudyMismatchError
from perftune.records.probe import ProbeSpec
from perftune.records.study import Study
from perftune.records.survey import Survey
from perftune.tuning.study_file import load_study

STUDY = "study.json"
MOST_FILES_TOLD = 3
WORKLOAD_FACTS = {
    "trainer_class": "the Trainer",
    "model_class": "the model",
    "num_parameters": "the number of parameters",
    "num_trainable_parameters": "the number of parameters that train",
    "num_samples": "the number of training samples",
}
"""What a survey sees where code or data were changed out of its sight."""
IGNORED_PACKAGES = {"nvidia-ml-py", "liger-kernel"}
"""Packages whose version does not change what a trial measures on the devices that they are not for."""


def stored_study(directory: Path) -> Study | None:
    """The study in a folder, if there is one.

    Raises:
        StudyFileError: a file is there and is no study.
    """
    path = directory / STUDY
    try:
        return load_study(path) if path.exists() else None
    except StudyFileError as error:
        raise StudyFileError(f"{error}; or name another folder with --out") from error


def move_aside(directory: Path) -> Path | None:
    """Give a folder another name, so that nothing in it is lost; its new place."""
    if not directory.exists():
        return None
    number = 1
    while (aside := directory.with_name(f"{directory.name}.old-{number}")).exists():
        number += 1
    directory.rename(aside)
    return aside


def differences(study: Study, probe: ProbeSpec, strategy: str, survey: Survey | None = None) -> list[str]:
    """What makes a stored study one of another probe, device or software; empty when it can go on."""
    found = []
    if study.probe_sha256 != probe.sha256:
        changed = [
            name
            for name in ProbeSpec.model_fields
            if name not in {"name", "source_path", "budget"} and getattr(study.probe, name) != getattr(probe, name)
        ]
        found.append(f"the probe ({', '.join(changed) or 'its definition'})")
    if study.strategy != strategy:
        found.append(f"the strategy ({study.strategy}, now {strategy})")
    if survey is not None:
        found += _changes(study.survey, survey)
        old, new = study.survey.device, survey.device
        if (old.kind, old.name, old.count, old.num_cores, old.driver) != (
            new.kind, new.name, new.count, new.num_cores, new.driver,
        ):  # fmt: skip
            found.append(f"the device ({old.name}, {old.num_cores} cores; now {new.name}, {new.num_cores} cores)")
        before, now = study.survey.versions.packages, survey.versions.packages
        found += [
            f"{name} ({before.get(name)}, now {now.get(name)})"
            for name in sorted(before.keys() | now.keys())
            if name not in IGNORED_PACKAGES and before.get(name) != now.get(name)
        ]
    return found


def _changes(old: Survey, new: Survey) -> list[str]:
    """What is another workload now, although the probe is the same.

    Only files that were loaded both times are compared: a cache that is made at the first time is read at the second.
    """
    changed = [path for path in old.files.keys() & new.files.keys() if old.files[path] != new.files[path]]
    found = [f"{path} (its content has changed)" for path in sorted(changed)[:MOST_FILES_TOLD]]
    if len(changed) > MOST_FILES_TOLD:
        found.append(f"{len(changed) - MOST_FILES_TOLD} more files")
    for name, what in WORKLOAD_FACTS.items():
        before, now = getattr(old, name), getattr(new, name)
        if before != now:
            found.append(f"{what} ({_shown(before)}, now {_shown(now)})")
    return found


def _shown(value: str | int | None) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def refuse_if_different(found: list[str], directory: Path) -> None:
    """Refuse to mix measurements.

    Raises:
        StudyMismatchError: there is a difference.
    """
    if found:
        raise StudyMismatchError(
            f"{directory / STUDY} was measured with something else: {'; '.join(found)}. Numbers from both cannot be "
            "mixed: name another folder with --out, or use --force to begin anew (the old folder is kept, renamed)"
        )


def refuse_foreign_trials(directory: Path) -> None:
    """Refuse a folder with trials and without the study that they belong to: they would be adopted or replaced.

    Raises:
        OutputExistsError: there are such trials.
    """
    trials = directory / "trials"
    if trials.is_dir() and any(trials.iterdir()):
        raise OutputExistsError(
            f"{trials} holds trials, and the {STUDY} that they belong to is gone; name another folder with --out"
        )

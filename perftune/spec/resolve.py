"""Checked values of a probe file to the ProbeSpec: absolute paths, sizes in bytes, one spelling of each knob."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import perftune.spec.files as files
from perftune.records.base import Setting
from perftune.records.candidate import CHECKPOINTING
from perftune.records.probe import Budget, ModelWorkload, ProbeSpec, RealData, SyntheticData, Target
from perftune.spec.checks import check
from perftune.spec.file_form import DataForm, KnobsForm, ProbeFile
from perftune.spec.messages import Problem, probe_file_error
from perftune.spec.validate import prepare, validate
from perftune.spec.yaml_lines import Document


class Origin(NamedTuple):
    """Where a probe comes from."""

    source: str
    """The file as the user named it, for messages, or ``<python>``."""
    path: str
    """The same, absolute."""
    folder: Path
    """What relative paths start from."""
    name: str
    """Taken when the probe has none."""


def resolve(document: Document, origin: Origin) -> ProbeSpec:
    """Check everything, then build the record.

    Raises:
        ProbeFileError: all that is wrong, in one message.
    """
    problems = list(document.problems)
    if not isinstance(document.values, dict):
        if not problems:
            problems.append(Problem(document.line(()), (), _no_mapping(document.values)))
        raise probe_file_error(origin.source, problems)
    values = prepare(document.values)
    form, wrong = validate(values)
    told = {problem.path for problem in problems}
    for path, text in wrong:
        if path not in told:
            problems.append(Problem(document.line(path), path, text))
    told = {problem.path for problem in problems}
    for path, text in check(values, origin.folder):
        if not any(path[:length] in told - {()} for length in range(len(path) + 1)):
            problems.append(Problem(document.line(path), path, text))
    if problems or form is None:
        raise probe_file_error(origin.source, problems)
    return _spec(form, origin)


def _no_mapping(values: Any) -> str:
    what = "is empty" if values is None else "is a list" if isinstance(values, list) else "is a single value"
    return f"{what}; a probe file is `key: value` lines. `perftune init` writes one to start from"


def _spec(form: ProbeFile, origin: Origin) -> ProbeSpec:
    build, digest = files.build_function(form.build, origin.folder) if form.build else (None, None)
    return ProbeSpec(
        name=form.name or _file_name(origin.name),
        source_path=origin.path,
        build=build,
        build_sha256=digest,
        workload=_workload(form, origin.folder),
        training_arguments=form.training_arguments,
        global_batch_size=form.global_batch_size,
        target=Target(
            device=form.target.device,
            count=form.target.count,
            memory_bytes=form.target.memory,
            headroom=form.target.headroom,
            price_per_hour=form.target.price_per_hour,
        ),
        knobs=_knobs(form.knobs),
        allow=tuple(dict.fromkeys(form.allow)),
        objective=form.objective,
        budget=Budget(trials=form.budget.trials, minutes=form.budget.minutes),
        loss_tolerance=form.loss_tolerance,
        worthwhile=form.worthwhile,
        seed=form.seed,
        trust_remote_code=form.trust_remote_code,
    )


def _file_name(stem: str) -> str:
    """A name for a folder, from that of the file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:100] or "probe"


def _workload(form: ProbeFile, folder: Path) -> ModelWorkload | None:
    if form.task is None or form.data is None:
        return None
    return ModelWorkload(
        model=files.hub_id_or_folder(form.model, folder) if form.model else None,
        config=form.config,
        tokenizer=files.hub_id_or_folder(form.tokenizer, folder) if form.tokenizer else None,
        task=form.task,
        data=_data(form.data, folder),
    )


def _data(form: DataForm, folder: Path) -> SyntheticData | RealData:
    if form.synthetic is not None:
        return SyntheticData.model_validate(form.synthetic.model_dump())
    path = files.data_file(form.path, folder) if form.path else None
    return RealData.model_validate({**form.model_dump(exclude={"synthetic"}), "path": path})


def _knobs(form: KnobsForm) -> dict[str, tuple[Setting, ...]]:
    named = form.model_dump(exclude_none=True)
    if "gradient_checkpointing" in named:
        named[CHECKPOINTING] = named.pop("gradient_checkpointing")
    return {name: tuple(dict.fromkeys(values)) for name, values in named.items()}

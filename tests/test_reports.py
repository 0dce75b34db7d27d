"""Each reference report is what its study renders to, byte by byte."""

from pathlib import Path

import pytest

from perftune.emit import training_args_json, training_args_yaml
from perftune.records.study import Study
from perftune.reports import html, markdown, study_document
from perftune.tuning.study_file import load_study

FOLDER = Path(__file__).parents[1] / "reports"
REPORTS = sorted(path.parent for path in FOLDER.glob("*/study.json"))


def report_md(study: Study) -> str:
    return markdown.render(study_document(study))


def report_html(study: Study) -> str:
    return html.render(study_document(study))


RENDERED = {
    "training_args.yaml": training_args_yaml,
    "training_args.json": training_args_json,
    "report.md": report_md,
    "report.html": report_html,
}


def test_there_are_reports_and_nothing_else_in_the_folder() -> None:
    assert REPORTS
    assert {path.name for path in FOLDER.iterdir()} == {"README.md", *(path.name for path in REPORTS)}


@pytest.mark.parametrize("name", RENDERED)
@pytest.mark.parametrize("report", REPORTS, ids=lambda path: path.name)
def test_report_is_what_its_study_renders_to(report: Path, name: str) -> None:
    assert RENDERED[name](load_study(report / "study.json")) == (report / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("report", REPORTS, ids=lambda path: path.name)
def test_report_names_no_path_of_a_machine(report: Path) -> None:
    study = load_study(report / "study.json")
    named = [study.probe.source_path, study.probe.build or ""]
    assert [path for path in named if path.startswith("/")] == []

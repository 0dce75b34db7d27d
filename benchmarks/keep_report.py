"""A finished run to a reference report: its study with paths relative to the project, rendered anew.

python -m benchmarks.keep_report runs/code_lm-1 reports/code_lm_xeon-2core_202611
"""

import argparse
from pathlib import Path

from perftune.emit import training_args_json, training_args_yaml
from perftune.files import write_atomically
from perftune.records.study import Study
from perftune.reports import html, markdown, study_document
from perftune.tuning.study_file import load_study, save_study


def relative(study: Study) -> Study:
    """The study with the paths of its probe taken from the folder above ``probes/``."""
    source = Path(study.probe.source_path)
    root = f"{source.parents[1]}/"
    build = study.probe.build
    changed = {"source_path": str(source).removeprefix(root), "build": build.removeprefix(root) if build else None}
    return study.model_copy(update={"probe": study.probe.model_copy(update=changed)})


def keep(run: Path, report: Path) -> None:
    """Write the report."""
    study = relative(load_study(run / "study.json"))
    save_study(study, report / "study.json")
    write_atomically(report / "training_args.yaml", training_args_yaml(study))
    write_atomically(report / "training_args.json", training_args_json(study))
    document = study_document(study)
    write_atomically(report / "report.md", markdown.render(document))
    write_atomically(report / "report.html", html.render(document))


def main() -> None:
    """Keep one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("report", type=Path)
    options = parser.parse_args()
    keep(options.run.absolute(), options.report)


if __name__ == "__main__":
    main()

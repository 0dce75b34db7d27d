"""The lines of a log: one a trial, nothing that moves a cursor."""

import pytest

from perftune.cli.line_view import LineView
from tests.studies import tuned_study


def test_lines_have_no_control_codes(capsys: pytest.CaptureFixture[str]) -> None:
    study = tuned_study()
    failure = study.trials[3].failure
    assert failure is not None
    hostile = failure.model_copy(update={"message": "a\n\x1b[2Jb" + "x" * 500})
    LineView().on_trial_end(study, study.trials[3].model_copy(update={"failure": hostile}))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("\n") == 1
    assert len(out) < 400

"""A study is append-only."""

import pytest

from tests.studies import tuned_study


def test_a_trial_number_is_taken_once() -> None:
    study = tuned_study()
    with pytest.raises(ValueError, match="is in the study"):
        study.with_trial(study.trials[0])

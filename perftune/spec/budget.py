"""A budget given beside the probe, on the command line or from Python, to the probe with it: checked as in the file."""

from pydantic import ValidationError

from perftune.records.probe import Budget, ProbeSpec
from perftune.spec.file_form import BudgetForm
from perftune.spec.messages import Problem, probe_file_error
from perftune.spec.validate import findings


def with_budget(probe: ProbeSpec, trials: int | None, minutes: float | None, source: str) -> ProbeSpec:
    """The probe with another budget, where one is given.

    Args:
        probe: with a budget of its own.
        trials: instead of its trials; None keeps them.
        minutes: instead of its minutes; None keeps them.
        source: where the two are from, for the message.

    Raises:
        ProbeFileError: a value that the file could not have either.
    """
    given = {name: value for name, value in (("trials", trials), ("minutes", minutes)) if value is not None}
    if not given:
        return probe
    values = {**probe.budget.model_dump(), **given}
    try:
        form = BudgetForm.model_validate(values)
    except ValidationError as error:
        raise probe_file_error(source, [Problem(None, path, text) for path, text in findings(error, values)]) from error
    return probe.model_copy(update={"budget": Budget(trials=form.trials, minutes=form.minutes)})

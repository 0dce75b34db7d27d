"""A survey to the lines of Python that load the answer, with the class of arguments that the user's Trainer has."""

from perftune.records.survey import Survey

PLAIN = "TrainingArguments"
PUBLIC = ("transformers", "trl")
"""Packages that offer their classes of arguments at the top."""


def load_lines(survey: Survey, path: str) -> list[str]:
    """Imports and the call that reads the written file; the path is quoted here."""
    module, _, name = survey.arguments_class.rpartition(".")
    package = module.partition(".")[0]
    if package not in PUBLIC:
        package, name = "transformers", PLAIN
    imports = (
        [f"from transformers import HfArgumentParser, {name}"]
        if package == "transformers"
        else ["from transformers import HfArgumentParser", f"from {package} import {name}"]
    )
    return [*imports, f"(args,) = HfArgumentParser({name}).parse_yaml_file({path})"]

"""A study to ``training_args.json``: the arguments alone, as ``HfArgumentParser.parse_json_file`` reads them."""

import json

from perftune.records.study import Study


def training_args_json(study: Study) -> str:
    """The recommended arguments as a JSON object.

    Raises:
        ValueError: the study has no recommendation yet.
    """
    if study.recommendation is None:
        raise ValueError("the study has no recommendation yet")
    return json.dumps(study.recommendation.arguments, indent=2, allow_nan=False) + "\n"

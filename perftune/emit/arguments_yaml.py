"""A study to ``training_args.yaml``: arguments that load as they are, with provenance and reasons as comments."""

from typing import Any

import yaml

from perftune.emit.comments import comment
from perftune.emit.provenance import outside_the_file, provenance
from perftune.records.recommendation import Decision, Recommendation, TunedLine
from perftune.records.study import Study

EVAL_BATCH = "per_device_eval_batch_size"
ACCUMULATION = "gradient_accumulation_steps"


def training_args_yaml(study: Study) -> str:
    """The recommended arguments as YAML for ``HfArgumentParser(TrainingArguments).parse_yaml_file``.

    That parser refuses unknown keys and reads the file in the encoding of the machine (transformers 5.23,
    hf_argparser.py), so all that is no argument stands in comments, and every byte is ASCII.

    Raises:
        ValueError: the study has no recommendation yet.
    """
    recommendation = study.recommendation
    if recommendation is None:
        raise ValueError("the study has no recommendation yet")
    sections = ["".join(comment(line) for line in provenance(study, recommendation))]
    outside = outside_the_file(recommendation)
    if outside:
        sections.append("".join(comment(line) for line in outside))
    sections += _sections(recommendation)
    return "\n".join(sections)


def _sections(recommendation: Recommendation) -> list[str]:
    lines = {line.field: line for line in recommendation.lines}
    arguments = recommendation.arguments
    tuned = [_entry(name, arguments[name], _why(lines[name])) for name in lines if name in arguments]
    others = {name: value for name, value in arguments.items() if name not in lines}
    own = []
    for name, value in others.items():
        if name == EVAL_BATCH and recommendation.eval_batch_size is not None:
            tuned.append(_entry(name, value, ["The fastest evaluation batch that was measured within the headroom."]))
        elif name == ACCUMULATION:
            own.append(_entry(name, value, ["Follows from the global batch."]))
        else:
            own.append(_entry(name, value, []))
    found = []
    if tuned:
        found.append(comment("Tuned") + comment("-----") + "".join(tuned))
    if own:
        title = "Your own" if recommendation.decision is Decision.TUNED else "Your own arguments, unchanged"
        found.append(comment(title) + comment("-" * len(title)) + "".join(own))
    return found or ["{}\n"]


def _why(line: TunedLine) -> list[str]:
    """The reason, which states the measured effect in words, and what stood there before."""
    own = "not set" if line.user_value is None else str(line.user_value)
    return [line.reason, f"Yours: {own}."]


def _entry(name: str, value: Any, why: list[str]) -> str:
    text = yaml.safe_dump({name: value}, default_flow_style=False, sort_keys=False, allow_unicode=False, width=1000)
    return "".join(comment(line) for line in why) + text

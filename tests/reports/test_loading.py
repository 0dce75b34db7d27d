"""The lines that load an answer name the class of arguments that the user has."""

import pytest

from perftune.reports.loading import load_lines
from tests.studies import survey


@pytest.mark.parametrize(
    ("arguments_class", "lines"),
    [
        (
            "transformers.training_args.TrainingArguments",
            [
                "from transformers import HfArgumentParser, TrainingArguments",
                "(args,) = HfArgumentParser(TrainingArguments).parse_yaml_file('a.yaml')",
            ],
        ),
        (
            "transformers.training_args_seq2seq.Seq2SeqTrainingArguments",
            [
                "from transformers import HfArgumentParser, Seq2SeqTrainingArguments",
                "(args,) = HfArgumentParser(Seq2SeqTrainingArguments).parse_yaml_file('a.yaml')",
            ],
        ),
        (
            "trl.trainer.sft_config.SFTConfig",
            [
                "from transformers import HfArgumentParser",
                "from trl import SFTConfig",
                "(args,) = HfArgumentParser(SFTConfig).parse_yaml_file('a.yaml')",
            ],
        ),
        (
            "my_workload.MyArguments",
            [
                "from transformers import HfArgumentParser, TrainingArguments",
                "(args,) = HfArgumentParser(TrainingArguments).parse_yaml_file('a.yaml')",
            ],
        ),
    ],
)
def test_the_class_is_the_users_where_it_can_be_imported(arguments_class: str, lines: list[str]) -> None:
    assert load_lines(survey().model_copy(update={"arguments_class": arguments_class}), "'a.yaml'") == lines

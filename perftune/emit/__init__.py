"""A study with a recommendation to the files that a user trains with. Pure: same study, same bytes."""

from perftune.emit.arguments_json import training_args_json
from perftune.emit.arguments_yaml import training_args_yaml

__all__ = ["training_args_json", "training_args_yaml"]

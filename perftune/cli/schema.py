"""``perftune schema``: the JSON schema of a probe file, for editors."""

from perftune.cli.options import AddVerb, verb_parser
from perftune.printable import ascii_json


def declare(add_verb: AddVerb) -> None:
    """Add the verb to the command line."""
    text = "Print the JSON schema of a probe file, for completion and checks in an editor."
    verb_parser(add_verb, schema, "schema", text)


def schema() -> None:
    """Print the JSON schema of a probe file, for completion and checks in an editor."""
    # Not above: `perftune --help` does without them.
    import json

    from perftune.spec import json_schema

    print(ascii_json(json.dumps(json_schema(), indent=2)))

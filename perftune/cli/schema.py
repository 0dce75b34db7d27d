"""``perftune schema``: the JSON schema of a probe file, for editors."""

import json

import typer


def schema() -> None:
    """Print the JSON schema of a probe file, for completion and checks in an editor."""
    # Not above: `perftune --help` does without pydantic.
    from perftune.spec import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))

"""The commented probe file that ``perftune init`` writes: valid as it stands, and it runs without a network."""

from importlib.resources import files


def template() -> str:
    """The text of a first ``model.yaml``, with every key, its default and what it means."""
    return files("perftune.spec").joinpath("template.yaml").read_text(encoding="utf-8")

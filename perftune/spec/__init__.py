"""A probe file, or arguments from Python, to the ProbeSpec that the other parts work from."""

from pathlib import Path

from perftune.errors import ProbeFileError
from perftune.records.probe import ProbeSpec
from perftune.spec.budget import with_budget
from perftune.spec.file_form import json_schema
from perftune.spec.python import probe_from_python
from perftune.spec.resolve import Origin, resolve
from perftune.spec.source import workload_source
from perftune.spec.template import template
from perftune.spec.yaml_lines import MAX_CHARACTERS, read_yaml

__all__ = ["json_schema", "load_probe", "probe_from_python", "template", "with_budget", "workload_source"]


def load_probe(path: Path) -> ProbeSpec:
    """Read and check a probe file. Relative paths in it start from its folder.

    Raises:
        ProbeFileError: all that is wrong with the file, in one message, with line, key, value seen and values allowed.
    """
    return resolve(read_yaml(_text(path)), Origin(str(path), str(path.absolute()), path.absolute().parent, path.stem))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            # UTF-8 takes up to four bytes for a character; one more tells that the file is too long.
            content = file.read(4 * MAX_CHARACTERS + 4)
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise ProbeFileError(f"{path}: there is no such file. `perftune init` writes one to start from.") from None
    except IsADirectoryError:
        raise ProbeFileError(
            f"{path}: is a folder; name the probe file in it, such as {path / 'model.yaml'}."
        ) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ProbeFileError(f"{path}, line {line}: is not UTF-8 text; save it with that encoding.") from None
    except (OSError, ValueError) as error:
        raise ProbeFileError(f"{path}: cannot be read: {error}.") from error

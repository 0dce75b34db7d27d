"""The text of a YAML file to plain values and the line of every key, with YAML 1.2 numbers and bounds on its size."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from perftune.spec.messages import KeyPath, Problem
from perftune.spec.yaml_faults import syntax_fault

MAX_CHARACTERS = 256 * 1024
MAX_DEPTH = 32
MAX_VALUES = 20_000
"""Aliases counted as often as they are used, so that a few lines cannot stand for billions of values."""
MAX_INTEGER = 2**63 - 1
"""What JSON readers take."""
MAX_DIGITS = 100

_INTEGER = re.compile(r"[-+]?(\d+|\d{1,3}(_\d{3})+|0x[0-9a-fA-F]+|0o[0-7]+)\Z", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?\Z|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z", re.ASCII)
_CONSTANTS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    spelling: value
    for word, value in (("true", True), ("false", False))
    for spelling in (word, word.capitalize(), word.upper())
}
_TAG = "tag:yaml.org,2002:"
_PLAIN = "!plain"
_TYPE_TAGS = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str"}
_FORBIDDEN = re.compile("[\0\ud800-\udfff]")
"""Neither a path nor JSON can hold them."""


@dataclass
class Document:
    """Plain values, where they stand, and what is wrong with them."""

    values: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: KeyPath) -> int | None:
        """The line of a key, or of the nearest key around it; None when nothing has a line."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path)


class _Refused(yaml.YAMLError):
    """A bound was passed."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.text = text


class _Loader(yaml.SafeLoader):
    """Composes nodes only, so that no tag can construct anything, down to a depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH and parent is not None:
            raise _Refused(parent.start_mark.line + 1, f"nested more than {MAX_DEPTH} levels deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_Loader.yaml_implicit_resolvers = {None: [(_PLAIN, re.compile(""))]}


def read_yaml(text: str) -> Document:
    """Parse one YAML document. Never raises: what is wrong stands in the problems.

    Differences from PyYAML, all towards YAML 1.2: ``5e-5`` is a number; ``yes``, ``no``, ``on``, ``off``, dates and
    ``1:30`` are text; ``010`` is ten. Keys are text, and no key may stand twice.
    """
    document = Document()
    if len(text) > MAX_CHARACTERS:
        document.problems.append(
            Problem(None, (), f"{len(text):,} characters; a probe file has {MAX_CHARACTERS:,} at most")
        )
        return document
    try:
        node = _Loader(text).get_single_node()
        if node is not None:
            document.values = _Walk(document).value(node, ())
    except _Refused as error:
        document.problems.append(Problem(error.line, (), error.text))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.problems.append(Problem(line, (), f"the character U+{error.character:04X} is not allowed in YAML"))
    except yaml.MarkedYAMLError as error:
        line_at_fault, what = syntax_fault(error, text)
        document.problems.append(Problem(line_at_fault, (), what))
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        document.problems.append(Problem(None, (), f"is not YAML: {error}"))
    return document


class _Walk:
    """Nodes to values; the line of every key and list item is noted on the way."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._num_values = 0

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._count(node, len(path))
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in (_TAG + "map", _TAG + "seq"):
            self._problem(node, path, f"the tag {node.tag.replace(_TAG, '!!')[:40]} is not allowed; write plain values")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, place)) for place, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path)

    def _problem(self, node: yaml.Node, path: KeyPath, text: str) -> None:
        self._document.problems.append(Problem(node.start_mark.line + 1, path, text))

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        first: dict[str, int] = {}
        values: dict[str, Any] = {}
        for key, item in self._pairs(node, path):
            name, line = key.value, key.start_mark.line + 1
            if name in first:
                self._problem(key, (*path, name), f"stands twice, first in line {first[name]}; keep one of the two")
                continue
            if _FORBIDDEN.search(name):
                self._problem(key, path, f"the key {name!r} has a character that is not allowed")
                continue
            first[name] = line
            self._document.lines[(*path, name)] = line
            values[name] = self.value(item, (*path, name))
        return values

    def _pairs(
        self, node: yaml.MappingNode, path: KeyPath, depth: int = 0
    ) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Keys with their values; those that ``<<`` brings in come last, without those that the mapping has itself."""
        own = {key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
        merged: dict[str, tuple[yaml.ScalarNode, yaml.Node]] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key, path, "a key is a list or a mapping; keys are words")
            elif (key.tag, key.value) == (_PLAIN, "<<"):
                for other, value in self._merged(item, (*path, "<<"), depth + 1):
                    if other.value not in own:
                        merged.setdefault(other.value, (other, value))
            else:
                yield key, item
        yield from merged.values()

    def _merged(self, item: yaml.Node, path: KeyPath, depth: int) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        for source in item.value if isinstance(item, yaml.SequenceNode) else [item]:
            self._count(source, depth, len(source.value))
            if isinstance(source, yaml.MappingNode):
                yield from self._pairs(source, path, depth)
            else:
                self._problem(source, path, "merges what is no mapping; write `<<: *name`")

    def _count(self, node: yaml.Node, depth: int, num_values: int = 1) -> None:
        self._num_values += num_values
        if self._num_values > MAX_VALUES:
            raise _Refused(node.start_mark.line + 1, f"more than {MAX_VALUES:,} values, aliases written out")
        if depth > MAX_DEPTH:
            raise _Refused(node.start_mark.line + 1, f"nested more than {MAX_DEPTH} levels deep, aliases written out")

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        try:
            return _resolve(node)
        except ValueError as error:
            self._problem(node, path, str(error))
            return None


def _resolve(node: yaml.ScalarNode) -> Any:
    """The value of a scalar: a plain one by its look, a quoted one as text, a tagged one if it looks like the tag.

    Raises:
        ValueError: the tag is not one of JSON's types or does not fit the text, or the number is out of bounds.
    """
    if _FORBIDDEN.search(node.value):
        raise ValueError(f"{node.value[:40]!r} has a character that is not allowed")
    if node.tag == _TAG + "str":
        return node.value
    value = _by_look(node.value)
    if node.tag == _PLAIN or node.tag == _TAG + _TYPE_TAGS[type(value)]:
        return value
    if node.tag == _TAG + "float" and isinstance(value, int):
        return float(value)
    raise ValueError(f"the tag {node.tag.replace(_TAG, '!!')[:40]} is not allowed here; write a plain value")


def _by_look(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.match(text):
        digits = text.replace("_", "").lower()
        if len(digits) > MAX_DIGITS or abs(number := int(digits, 0 if {"x", "o"} & set(digits) else 10)) > MAX_INTEGER:
            raise ValueError(f"{text[:40]} is too large a number; {MAX_INTEGER} is the largest")
        return number
    if _FLOAT.match(text):
        number_or_not = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if not math.isfinite(number_or_not):
            raise ValueError(f"{text[:40]} is not a finite number")
        return number_or_not
    return text

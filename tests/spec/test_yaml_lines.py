"""YAML text to values with lines: YAML 1.2 numbers, no tags, no bombs."""

import json

import pytest

from perftune.spec.yaml_lines import MAX_CHARACTERS, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-5", 5e-5),
        ("1E5", 1e5),
        ("1.0e-3", 1e-3),
        (".5", 0.5),
        ("-3", -3),
        ("+3", 3),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("10_000", 10000),
        ("1_0", "1_0"),
        ("1:30", "1:30"),
        ("2026-11-24", "2026-11-24"),
        ("no", "no"),
        ("Off", "Off"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
        ("10%", "10%"),
        ("e5", "e5"),
        (".", "."),
        ("-", [None]),
    ],
)
def test_scalars_are_read_the_yaml_1_2_way(text: str, value: object) -> None:
    document = read_yaml(f"key:\n {text}")
    assert not document.problems
    assert document.values == {"key": value}
    assert type(document.values["key"]) is type(value)


def test_every_key_and_item_has_its_line() -> None:
    document = read_yaml("# comment\na: 1\nb:\n  c: [1,\n    2]\n  d:\n    - x\n    - y\n")
    assert document.values == {"a": 1, "b": {"c": [1, 2], "d": ["x", "y"]}}
    lines = {("a",): 2, ("b",): 3, ("b", "c"): 4, ("b", "c", 1): 5, ("b", "d", 0): 7, ("b", "d", 1): 8}
    assert {path: document.line(path) for path in lines} == lines
    assert document.line(("b", "c", 0, "deeper")) == 4
    assert document.line(("unknown",)) == 2


def test_anchors_and_merges_work() -> None:
    document = read_yaml("base: &b {x: 1, y: 2}\nother: {<<: *b, y: 3}\nsame: *b\nmany: {<<: [*b, {z: 4, x: 9}]}\n")
    assert not document.problems
    assert document.values["other"] == {"x": 1, "y": 3}
    assert document.values["same"] == {"x": 1, "y": 2}
    assert document.values["many"] == {"x": 1, "y": 2, "z": 4}
    assert document.line(("other", "y")) == 2
    assert document.line(("same", "y")) == 1


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a: 1\nb: 2\na: 3", 3, "stands twice, first in line 1"),
        ("a: {x: 1,\n x: 2}", 2, "stands twice, first in line 1"),
        ("a: 1\nb: [\nc: 1", 2, "the bracket [ that is opened here is not closed"),
        ("a: 1\nb: {x: 1\n", 2, "close it with }"),
        ('a: "x\nb: 1\n', 1, "a quote is opened here and not closed"),
        ("a:1\nb: 2", 2, "line 1 has a colon without a space after it"),
        ("a: b: c", 1, "has two colons"),
        ("a: 1\n  b: 2", 2, "is indented more than the line above"),
        ("a:\n  b: 1\n c: 2", 3, "is indented otherwise than the lines above it"),
        ("a: 1\nb\nc: 1", 2, "a key without a colon"),
        ("a: @b", 1, "begins with @, which YAML keeps for itself"),
        ("a: 1\n\tb: 2", 2, "tab"),
        ("a: 1\nb: \x01", 2, "U+0001"),
        ("a: 1\n---\nb: 2", 2, "a second document begins here"),
        ("a: *nowhere", 1, "nowhere"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]", 2, "python/object"),
        ("a: !!binary aGVsbG8=", 1, "!!binary"),
        ("a: !!int five", 1, "!!int"),
        ("a: !mine {b: 1}", 1, "!mine"),
        ("? [x]\n: 1", 1, "a key is a list"),
        ("a: {<<: 3}", 1, "merges what is no mapping"),
        ("a: .nan", 1, "not a finite number"),
        ("a: 1\nb: 1e999", 2, "not a finite number"),
        ("a: " + "9" * 30, 1, "too large"),
        ("a: " + "9" * 5000, 1, "too large"),
        ("a: 0x" + "f" * 5000, 1, "too large"),
        ('a: "\\ud800"', 1, "not allowed"),
        ('a: "\\0"', 1, "not allowed"),
        ('"\\0": 1', 1, "not allowed"),
        ("x: 1\na: &a [*a]", 2, "levels deep"),
        ("x: 1\na: &a {b: *a}", 2, "levels deep"),
        ("&a {<<: *a}", 1, "levels deep"),
        ("[" * 5000, 1, "levels deep"),
        ("".join(f"{' ' * n}a:\n" for n in range(100)), 32, "levels deep"),
        (BOMB, 1, "more than 20,000 values"),
        (MERGE_BOMB, 1, "more than 20,000 values"),
        ("x" * (MAX_CHARACTERS + 1), None, "262,145 characters"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_refused(text: str, line: int | None, part: str) -> None:
    document = read_yaml(text)
    assert len(document.problems) == 1
    assert part in document.problems[0].text
    assert document.problems[0].line == line


def test_values_are_json() -> None:
    document = read_yaml("id2label: {0: neg, 1: pos}\non: 1\n2026-11-24: x\n")
    assert document.values == {"id2label": {"0": "neg", "1": "pos"}, "on": 1, "2026-11-24": "x"}
    assert json.loads(json.dumps(document.values)) == document.values

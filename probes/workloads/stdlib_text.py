"""The sources of the running Python's standard library to labelled docstrings and functions: real text, offline."""

import ast
import random
import sysconfig
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

TOPICS = {
    "network": "http urllib email socket ssl smtplib ftplib xmlrpc socketserver ipaddress mailbox",
    "concurrency": "asyncio threading multiprocessing concurrent queue sched selectors subprocess contextlib",
    "text": "json csv xml html re string textwrap codecs configparser difflib gettext base64 shlex plistlib",
    "files": "os shutil pathlib tempfile zipfile glob fnmatch gzip bz2 lzma fileinput filecmp dbm posixpath stat",
    "language": "ast inspect unittest typing argparse logging functools enum collections types warnings",
    "numbers": "_pydecimal fractions statistics random calendar numbers heapq bisect zoneinfo colorsys",
}
"""What a module is about -> modules and packages of the standard library; those that this Python lacks are left out."""


class Documented(NamedTuple):
    """One function or class that has a docstring."""

    topic: str
    name: str
    signature: str
    docstring: str
    source: str

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring on one line."""
        return " ".join(self.docstring.partition("\n\n")[0].split())


def source_files() -> Iterator[tuple[str, Path]]:
    """Every source file of the topics, with its topic, in a fixed order."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for topic, modules in TOPICS.items():
        for module in modules.split():
            package = root / module
            yield from ((topic, path) for path in sorted(package.rglob("*.py")))
            if (single := package.with_suffix(".py")).is_file():
                yield topic, single


def _definitions(body: list[ast.stmt]) -> Iterator[Definition]:
    """Classes, functions and methods; what is inside functions is not looked at."""
    for statement in body:
        if isinstance(statement, Definition):
            yield statement
        if isinstance(statement, ast.ClassDef):
            yield from _definitions(statement.body)


def _documented(topic: str, text: str) -> Iterator[Documented]:
    lines = text.splitlines(keepends=True)
    for node in _definitions(ast.parse(text).body):
        if docstring := ast.get_docstring(node):
            parameters = "" if isinstance(node, ast.ClassDef) else ast.unparse(node.args)
            source = textwrap.dedent("".join(lines[node.lineno - 1 : node.end_lineno]))
            yield Documented(topic, node.name, f"{node.name}({parameters})", docstring, source)


def documented(seed: int = 0) -> list[Documented]:
    """All documented functions and classes, without doubles, shuffled in the same way each time."""
    found = [item for topic, path in source_files() for item in _documented(topic, path.read_text(encoding="utf-8"))]
    unique = list({item.docstring: item for item in found}.values())
    random.Random(seed).shuffle(unique)
    return unique

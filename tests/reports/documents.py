"""Documents for tests of renderers, and what each renderer makes of one, read back."""

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console

from perftune.reports import html, markdown, terminal
from perftune.reports.document import (
    Bullet,
    Bullets,
    Cell,
    Code,
    Column,
    Document,
    Kind,
    Mark,
    Paragraph,
    Point,
    Scatter,
    Section,
    Shape,
    Table,
    Tone,
)

HOSTILE = "<script>alert(1)</script> [bold red]x[/bold red] [/] | `a` *b* \x1b[2J\nsecond & 'q' \"d\" ]]> http://x.yz"
TRAPS = (
    HOSTILE, "- x", "+ x", "1. x", "12) x", "---", "===", "# x", "> x", "```", "~~~", "| a | b |", "[a](b)", "![a](b)",
    "<b>", "&lt;", "\\", "\\|", "a\\", "**", "__a__", "www.x.yz", "a@b.cd", ":smile:", "[/]", "[link=x]", "\x1b[31m",
    "\r", "\u202e", "\u2028", "\x85", "\x00", "\ud800", "\ufffe", "    x", "\tx", "</pre>", "</title>", "</td>", "<!--",
)  # fmt: skip
WIDTH = 5000


def texts() -> st.SearchStrategy[str]:
    """What somebody may call something."""
    return st.one_of(st.sampled_from(TRAPS), st.text(max_size=30), st.lists(st.sampled_from(TRAPS)).map("".join))


def document(*words: str) -> Document:
    """One of everything, with the words in each place where there are words."""
    cells = tuple(Cell(word) for word in words)
    columns = tuple(Column(word, kind) for word, kind in zip(words, [*Kind] * len(words), strict=False))
    points = (Point(1e9, 7.5, Mark.YOURS, words[0]), Point(2e9, None, Mark.FAILED, words[-1]))
    blocks = (
        *(Paragraph(words[0], tone) for tone in Tone),
        Bullets(tuple(Bullet(word, label) for word in words for label in ("", word))),
        Table(columns, (cells, (Cell("1.5", 1.5), *cells[1:]))),
        Table(tuple(Column("") for _ in words), (cells,)),
        Code(words),
        Scatter(points, 2**31),
    )
    return Document(words[0], (Section("", blocks), Section(words[-1], blocks)))


def in_terminal(shown: Document, shape: Shape = Shape.REPORT) -> str:
    """The text, without styles; wide enough that nothing is wrapped."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_terminal=False)
    console.print(terminal.render(shown, shape))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def markdown_tokens(shown: Document, shape: Shape = Shape.REPORT) -> list[Token]:
    """What a Markdown parser with GitHub's tables and strikes finds, inline tokens in their place."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return [
        inner for token in parser.parse(markdown.render(shown, shape)) for inner in (token, *(token.children or ()))
    ]


def in_markdown(shown: Document, shape: Shape = Shape.REPORT) -> str:
    """The text that a reader sees."""
    tokens = markdown_tokens(shown, shape)
    return "".join(_seen(token) for token in tokens)


def _seen(token: Token) -> str:
    if token.type in ("text", "text_special", "fence"):
        return token.content
    return "" if token.type.startswith("strong") else "\n"


def html_tree(shown: Document, shape: Shape = Shape.REPORT) -> ET.Element:
    """The elements of the page."""
    text = html.render(shown, shape)
    return ET.fromstring(text[text.index("<main>") : text.index("</main>") + len("</main>")])


def in_html(shown: Document, shape: Shape = Shape.REPORT) -> str:
    """The text that a reader sees."""
    parts = []
    for element in html_tree(shown, shape).iter():
        if element.tag not in {"b", "data"}:
            parts.append("\n")
        if element.tag not in {"svg", "circle", "title", "text", "path", "line"}:
            parts += [element.text or ""]
        parts.append(element.tail or "" if element.tag in {"b", "data"} else "")
    return "".join(parts)


READERS: dict[str, Callable[[Document, Shape], str]] = {
    "terminal": in_terminal,
    "markdown": in_markdown,
    "html": in_html,
}


def said(text: str) -> str:
    """Words with single spaces between them."""
    return re.sub(r"\s+", " ", text).strip()

"""An HTML page as the headings, terms and paragraphs a reader meets, in order.

In: a parsed page. Out: passages. Knows no site: definition lists (dt, dd), headings, table cells whose
class calls them a title, paragraphs, and line breaks, where an empty line ends a paragraph. What is
indented by non-breaking spaces, or stands in <pre>, is code. Left out: navigation, asides, forms, scripts.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from resiliparse.parse.html import HTMLTree, NodeType, traverse_dom

# sets of tags are written as text: forty quoted names are harder to read
SKIPPED = frozenset("script style nav footer aside noscript template form button select svg math iframe".split())  # noqa: SIM905
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
TITLE_CLASSES = frozenset({"title", "section-title"})  # cells and boxes that pages without headings use for them
EMPHASIS = frozenset({"strong", "b", "code", "tt"})
EMPHASIS_CLASSES = frozenset({"sig-name", "descname"})
INLINE = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i img ins kbd label mark q s samp small span "  # noqa: SIM905
    "strike strong sub sup time tt u var wbr".split()
)
NBSP = "\u00a0"

PassageKind = Literal["heading", "term", "paragraph", "code", "item"]


@dataclass(frozen=True)
class Passage:
    """One heading, term or paragraph."""

    kind: PassageKind
    text: str
    level: int = 0
    """Of a heading: 1 the page's own, larger below; 0 for everything else."""
    anchor: str = ""
    """Where in the page a heading or term stands (its id or name)."""
    emphasis: str = ""
    """The first emphasised words of a heading or term: the name within a signature."""


@dataclass
class _Block:
    """Text gathered since the last block began."""

    kind: PassageKind = "paragraph"
    level: int = 0
    anchor: str = ""
    text: list[str] = field(default_factory=list)
    emphasis: list[str] = field(default_factory=list)
    emphasis_ended: bool = False


def passages(tree: HTMLTree) -> list[Passage]:
    """The passages of a page in reading order."""
    if tree.body is None:
        return []
    reader = _Reader()
    traverse_dom(tree.body, reader.enter, reader.leave)
    reader.flush()
    return reader.found


class _Reader:
    """Follows a depth-first walk over a page and cuts its text into passages."""

    def __init__(self) -> None:
        self.found: list[Passage] = []
        self.block = _Block()
        self.skipping = 0  # how many elements deep inside something left out
        self.code = 0
        self.emphasised = 0
        self.kinds: list[tuple[PassageKind, int]] = [("paragraph", 0)]

    def enter(self, context: Any) -> None:
        node = context.node
        if node.type == NodeType.TEXT:
            self._text(node.value or "")
            return
        if node.type != NodeType.ELEMENT:
            return
        tag = node.tag
        if node.first_child is None:  # the walk never leaves an element that holds nothing
            self._empty_element(node, tag)
        elif self.skipping or tag in SKIPPED:
            self.skipping += 1
        elif tag in ("pre", "textarea"):
            self.flush()
            self.code += 1
        elif tag in INLINE:
            self._remember_anchor(node)
            self.emphasised += _emphasises(node, tag)
        else:
            self.flush()
            self.kinds.append(self._kind(node, tag))
            self.block = self._new_block(node)

    def leave(self, context: Any) -> None:
        node = context.node
        if node.type != NodeType.ELEMENT:
            return
        if self.skipping:
            self.skipping -= 1
            return
        tag = node.tag
        if tag in ("pre", "textarea"):
            self.flush()
            self.code -= 1
        elif tag in INLINE:
            if _emphasises(node, tag):
                self.emphasised -= 1
                self.block.emphasis_ended = self.block.emphasis_ended or not self.emphasised
        else:
            self.flush()
            self.kinds.pop()
            self.block = self._new_block(None)

    def flush(self) -> None:
        """End the block: its text becomes passages."""
        block, self.block = self.block, self._new_block(None)
        text = "".join(block.text)
        if not text.strip():
            return
        if self.code:
            self.found.append(Passage("code", text.strip("\n")))
        elif block.kind in ("heading", "term"):
            emphasis = _one_line("".join(block.emphasis))
            self.found.append(Passage(block.kind, _one_line(text), block.level, block.anchor, emphasis))
        else:
            self.found += [_paragraph(block.kind, lines) for lines in _paragraphs(text)]

    def _new_block(self, node: Any) -> _Block:
        kind, level = self.kinds[-1]
        return _Block(kind, level, _anchor(node) if node is not None else "")

    def _empty_element(self, node: Any, tag: str) -> None:
        if self.skipping:
            return
        if tag == "br":
            self.block.text.append("\n")
        elif tag in INLINE:
            self._remember_anchor(node)
        else:
            self.flush()

    def _kind(self, node: Any, tag: str) -> tuple[PassageKind, int]:
        if tag in HEADINGS:
            return "heading", int(tag[1])
        if tag == "dt":
            return "term", 0
        titles = TITLE_CLASSES.intersection(node.class_list) if tag in ("td", "th", "div", "caption") else None
        if titles:
            return "heading", 1 if "title" in titles else 2
        if tag == "li":
            return "item", 0
        if tag == "dd":
            return "paragraph", 0
        return self.kinds[-1]

    def _remember_anchor(self, node: Any) -> None:
        if self.block.kind in ("heading", "term") and not self.block.anchor:
            self.block.anchor = _anchor(node)

    def _text(self, text: str) -> None:
        if self.skipping:
            return
        text = text if self.code else re.sub(r"[ \t\r\n\f]+", " ", text)
        self.block.text.append(text)
        if self.emphasised and not self.block.emphasis_ended:
            self.block.emphasis.append(text)


def _emphasises(node: Any, tag: str) -> bool:
    return tag in EMPHASIS or (tag == "span" and not EMPHASIS_CLASSES.isdisjoint(node.class_list))


def _anchor(node: Any) -> str:
    return str(node.getattr("id", "") or node.getattr("name", "") or "")


def _paragraphs(text: str) -> list[list[str]]:
    """Lines of `text`, grouped: an empty line ends a group."""
    groups: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            groups[-1].append(line.strip(" \t").rstrip())
        elif groups[-1]:
            groups.append([])
    return [group for group in groups if group]


def _paragraph(kind: PassageKind, lines: list[str]) -> Passage:
    indented = len(lines[0]) - len(lines[0].lstrip(NBSP)) >= 2
    return Passage("code" if indented else kind, _one_line(" ".join(lines)))


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()

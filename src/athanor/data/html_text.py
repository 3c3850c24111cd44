"""HTML to plain text that reads well.

In: the HTML of a page. Out: its title and its text: navigation and other boilerplate dropped where it can be
told; mathematics as TeX between dollar signs; line breaks and the indentation of code kept, line numbers dropped;
a line per table row, its cells parted by tabs; a line per list item. Three methods: `fast` (resiliparse, native code),
`precise` (trafilatura; many times slower, meant for articles; an extra: pip install 'athanor[precise]'), and
`native`, this package's own (`extraction/`). docs/02-data.md has their quality and speed side by side.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from athanor.data.extraction.mathematics import MARKERS, restore_mathematics
from athanor.data.extraction.native import native_text
from athanor.data.extraction.prescan import Prescan
from athanor.data.extraction.trafilatura import trafilatura_text
from athanor.data.extraction.tree import remove_all

Method = Literal["fast", "precise", "native"]

_PREFORMATTED = re.compile(r"<pre[\s>].*?</pre\s*>", re.DOTALL | re.IGNORECASE)
_SET_APART = re.compile(r"<(?=(?:dl|hr)[\s/>])", re.IGNORECASE)
_BULLET = re.compile(r"^  ((?:  )*)• ?", re.MULTILINE)
_TAB_WIDTH = 4
WIDE_BLANKS = ("\u00a0", "\u2007", "\u202f")
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u2060\ufeff]")
_EMPTY_LINES = re.compile(r"\n{3,}")

_LINE_NUMBERS = {
    "lineno": ".lineno, .linenos, .linenodiv, .linenumber",
    "line-number": ".line-numbers-rows, .line-number",
    "gutter": "td.gutter, .rouge-gutter",
    "hljs-ln": ".hljs-ln-numbers",
    "blob-num": "td.blob-num",
    '"lnt"': ".lnt",
    "headerlink": "a.headerlink",
}
"""Elements beside code and headings that are no text, by a word that a page with such elements contains."""
_prescan = Prescan([*MARKERS, *_LINE_NUMBERS])


@dataclass(frozen=True, slots=True)
class PageText:
    """What a reader of the page sees."""

    title: str
    text: str


def html_to_text(html: str, method: Method = "fast", main_content: bool = True, skip: Sequence[str] = ()) -> PageText:
    """Title and text of a page.

    `main_content` drops what looks like navigation (`precise` always does), `skip` names further elements to leave
    out as CSS selectors. Raises ValueError for a selector that is none and for a method whose library is missing.
    """
    light, seen = _prescan(html.encode("utf-8", errors="replace"))
    html = light.decode("utf-8")
    if method == "fast":
        # Layout uses tabs between table cells, so those inside preformatted text become blanks first.
        if "\t" in html:
            html = _PREFORMATTED.sub(lambda pre: pre.group().expandtabs(_TAB_WIDTH), html)
        html = _SET_APART.sub("<p></p><", html)  # blank lines around lists of definitions and at rules
    tree = HTMLTree.parse(html)
    title = " ".join((tree.title or "").split())
    for selector in (*skip, *(selector for word, selector in _LINE_NUMBERS.items() if word in seen)):
        remove_all(tree, selector)
    if not seen.isdisjoint(MARKERS):
        restore_mathematics(tree, seen)
    if method == "native":
        text = native_text(tree, main_content)
    elif method == "precise":
        text = trafilatura_text(tree)
    else:
        text = extract_plain_text(
            tree, preserve_formatting=True, main_content=main_content, alt_texts=False, comments=not main_content
        )
        if "•" not in html:
            text = _BULLET.sub(r"\1- ", text)
    return PageText(title, tidied(text))


def tidied(text: str) -> str:
    """`text` with plain blanks, no invisible characters, no blanks at line ends and no runs of empty lines.

    >>> tidied("a\\u00a0b  \\n \\t\\n\\n\\n    indented\\n \\tcell\\t\\tcell")
    'a b\\n\\n    indented\\ncell\\tcell'
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for blank in WIDE_BLANKS:
        text = text.replace(blank, " ")
    text = _INVISIBLE.sub("", text)
    # "-&gt;" was escaped twice by some generators of documentation; nobody means these characters by it.
    text = "\n".join(map(_tidied_line, text.replace("-&gt;", "->").split("\n")))
    return _EMPTY_LINES.sub("\n\n", text).strip("\n")


def _tidied_line(line: str) -> str:
    if "\t" in line:  # cells; those before the first text are layout
        cells = [cell.strip(" ") for cell in line.split("\t")]
        if not cells[0]:
            line = "\t".join(filter(None, cells))
        else:
            line = "\t".join([line.split("\t", 1)[0].rstrip(), *filter(None, cells[1:])])
    return line.rstrip()

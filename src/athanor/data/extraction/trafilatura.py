"""Text of articles by trafilatura, with what it would lose put in safety.

In: a parsed page. Out: its text. Trafilatura (Barbaresi 2021) squeezes preformatted text and writes tables as Markdown;
so code goes past it under names that it cannot change, and rows come back as cells parted by tabs, like those of
the other methods. Its memory of earlier pages (`deduplicate`) stays off: with it the text of a page depends on
the pages that came before.
"""

import re

from resiliparse.parse.html import ElementNode, HTMLTree

from athanor.data.extraction.tree import text_node, walk

_PLACE = re.compile(r"preformatted(\d+)text")
_ROW = re.compile(r"^\|(?: .*)?\|[ \t]*$", re.MULTILINE)
_RULE = re.compile(r"^\|(?:-+\|)+[ \t]*\n?", re.MULTILINE)
_TAB_WIDTH = 4


def trafilatura_text(tree: HTMLTree) -> str:
    """The text of a parsed page; raises ValueError where trafilatura is not installed."""
    try:
        import trafilatura
    except ImportError as error:
        raise ValueError(
            "method 'precise' needs trafilatura; install it with: pip install 'athanor[precise]'"
        ) from error
    if tree.document is None:
        return ""
    codes: list[str] = []

    def put_away(element: ElementNode) -> bool:
        if element.local_name != "pre":
            return False
        while (line_break := element.query_selector("br")) is not None:
            line_break.replace_with(text_node(tree, "\n"))
        code = (element.text_content or "").strip("\n").expandtabs(_TAB_WIDTH)
        if "\n" in code:
            element.replace_children(text_node(tree, f"preformatted{len(codes)}text"))
            codes.append(code)
        return True

    walk(tree, put_away)
    html = tree.document.html
    text = trafilatura.extract(
        html, include_comments=False, include_tables=True, deduplicate=False, fast=True, with_metadata=False
    )
    text = _ROW.sub(_cells, _RULE.sub("", text or ""))
    return _PLACE.sub(lambda place: codes[int(place[1])] if int(place[1]) < len(codes) else place[0], text)


def _cells(row: re.Match[str]) -> str:
    return "\t".join(cell.strip() for cell in row[0].strip("| \t").split("|"))

"""Title and text of a page by this package's own method.

In: a page as resiliparse's parser (lexbor, which follows the HTML standard) understands it. Out: its text. The tree
is written back as markup once, and everything else is three passes of machine code over those bytes: the outline,
the choice of blocks, the layout. Few calls from Python per page, so it costs little more than parsing.
"""

import numpy as np
from resiliparse.parse.html import HTMLTree

from athanor.data.extraction.content import content_blocks
from athanor.data.extraction.layout import text_of_blocks
from athanor.data.extraction.outline import outline


def native_text(tree: HTMLTree, main_content: bool = True) -> str:
    """The text of a parsed page; with `main_content` false, of all of it."""
    if tree.document is None:
        return ""
    markup = np.frombuffer(tree.document.html.encode("utf-8", errors="replace"), np.uint8)
    page = outline(markup)
    keep = content_blocks(page) if main_content else np.ones(len(page.words), np.bool_)
    return text_of_blocks(markup, page, keep)

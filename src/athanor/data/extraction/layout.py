"""Blocks of a page as lines of text.

In: markup, its outline and the blocks to keep. Out: text as a reader sees it: an empty line around paragraphs,
headings, lists and tables; a line per item with `- ` or its number, nested by two blanks; a line per row of
a table, its cells parted by tabs; preformatted text with its line breaks and indentation. Tables that only
arrange a page are read cell after cell.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.data.extraction.content import Flags
from athanor.data.extraction.outline import BREAK, CLOSE, OPEN, RULE, Bytes, Outline
from athanor.data.extraction.vocabulary import TAG_NUMBERS, TAGS

_SET_APART_WRITTEN = "p h1 h2 h3 h4 h5 h6 ul ol dl blockquote pre table figure section article main aside"
_SET_APART = frozenset(_SET_APART_WRITTEN.split())
_APART = np.array([0] + [2 if name in _SET_APART else 1 for name in TAGS])
"""Line breaks around each element; 2 leave an empty line."""
_DEEPEST = 8
"""Lists nested deeper are not indented further."""


def text_of_blocks(markup: Bytes, page: Outline, keep: Flags) -> str:
    """The text of the blocks of `page` that `keep` has."""
    text: NDArray[np.uint8] = _text_of_blocks(
        markup, page.token_kind, page.token_start, page.token_end, page.token_block, page.tag, page.parent,
        page.block_element, page.characters, keep, _APART, TAG_NUMBERS,
    )  # fmt: skip
    return text.tobytes().decode("utf-8", errors="replace")


@kernel
def _grids(tag: Any, parent: Any, block_element: Any, characters: Any, keep: Any, tags: Any) -> Any:
    """Which elements are tables of data, or parts of one: short cells, no code, no table inside."""
    num = len(tag)
    table = np.full(num, -1, np.int32)  # the innermost table around each element
    cell = np.full(num, -1, np.int32)
    grid = np.zeros(num, np.bool_)
    for e in range(num):
        if parent[e] >= 0:
            table[e], cell[e] = table[parent[e]], cell[parent[e]]
        if tag[e] == tags.table:
            grid[e] = True
            if table[e] >= 0:
                grid[table[e]] = False
            table[e], cell[e] = e, -1
        elif tag[e] == tags.td or tag[e] == tags.th:
            cell[e] = e
    blocks = np.zeros(num, np.int32)
    size = np.zeros(num, np.int32)
    for b in range(len(block_element)):
        e = block_element[b]
        if keep[b] and cell[e] >= 0:
            blocks[cell[e]] += 1
            size[cell[e]] += characters[b]
            if tag[e] == tags.pre or (blocks[cell[e]] > 3 and size[cell[e]] > 400):
                grid[table[e]] = False
    for e in range(num):
        if tag[e] != tags.table and table[e] >= 0:
            grid[e] = grid[table[e]]
    return grid


@kernel
def _text_of_blocks(
    markup: Any, token_kind: Any, token_start: Any, token_end: Any, token_block: Any, tag: Any, parent: Any,
    block_element: Any, characters: Any, keep: Any, apart: Any, tags: Any,
) -> Any:  # fmt: skip
    grid = _grids(tag, parent, block_element, characters, keep, tags)
    out = np.empty(len(markup) // 2 + 1024, np.uint8)
    at = 0
    breaks = 0  # line breaks to write before the next text
    blank = False  # a blank to write before the next text
    tab = False  # whether the next text begins a cell that is not the first of its row
    row_begun = False
    line_start = 0
    marker = False  # whether the next text begins an item
    preformatted = 0
    depth = 0  # of lists
    ordered = np.zeros(_DEEPEST + 1, np.bool_)
    number = np.zeros(_DEEPEST + 1, np.int32)
    width = np.zeros(_DEEPEST + 1, np.int32)  # of the marker of the item open at each depth
    for t in range(len(token_kind)):
        kind = token_kind[t]
        if kind in (OPEN, CLOSE):
            e = token_start[t]
            name = tag[e]
            if grid[e] and name != tags.table:  # inside a table of data only rows break lines
                if name == tags.tr:
                    breaks = max(breaks, 1)
                    row_begun = tab = False
                elif name == tags.td or name == tags.th:
                    tab = tab or (row_begun and kind == OPEN)
                    blank = False
                elif kind == OPEN or not tab:
                    blank = True
                continue
            if name == tags.li:
                if depth == 0:
                    breaks = max(breaks, 1)
                    continue
                level = min(depth, _DEEPEST)
                breaks = max(breaks, 1) if kind == OPEN and number[level] == 0 else 1
                marker = kind == OPEN
                number[level] += kind == OPEN
                continue
            if name == tags.ul or name == tags.ol or name == tags.menu or name == tags.dir:
                if kind == OPEN:
                    breaks = max(breaks, 1 if depth else 2)
                    depth += 1
                    if depth <= _DEEPEST:
                        ordered[depth], number[depth], width[depth] = name == tags.ol, 0, 0
                    marker = False
                else:
                    depth = max(depth - 1, 0)
                    breaks = 1 if depth else 2
                    marker = False
                continue
            if name == tags.pre:
                preformatted += 1 if kind == OPEN else -1
            breaks = max(breaks, 1 if marker else apart[name])
            continue
        if kind == RULE:
            breaks = 2
            continue
        block = token_block[t]
        if block < 0 or not keep[block]:
            continue
        in_grid = grid[block_element[block]]
        if kind == BREAK:
            if in_grid:
                blank = True
            elif at and not breaks:
                breaks = 1
            elif at:
                breaks = min(breaks + 1, 2)
            continue
        i, end = token_start[t], token_end[t]
        if at + 20 * (end - i) + 256 > len(out):  # 20: an indented line per byte
            larger = np.empty(2 * len(out) + 20 * (end - i) + 256, np.uint8)
            larger[:at] = out[:at]
            out = larger
        while i < end:
            byte = markup[i]
            lone = False
            if byte == 38 and i + 3 < end:  # the entities that are written back
                if markup[i + 1] == 97:
                    i += 5
                elif markup[i + 1] == 108:
                    byte = np.uint8(60)
                    i += 4
                elif markup[i + 1] == 103:
                    byte = np.uint8(62)
                    i += 4
                elif markup[i + 1] == 113:
                    byte = np.uint8(34)
                    i += 6
                elif markup[i + 1] == 110:
                    byte, lone = np.uint8(160), True  # a blank that stays beside others
                    i += 6
                else:
                    i += 1
            else:
                i += 1
            if byte <= 32 and not (preformatted and not in_grid):
                blank = True
                continue
            if byte == 10 or byte == 13:  # preformatted
                if byte == 13 and i < end and markup[i] == 10:
                    continue
                if at and (not breaks or marker):
                    breaks = 1
                elif at:
                    breaks += 1
                blank = False
                continue
            if lone:
                byte = np.uint8(32)
            fill = 1
            if byte == 9:  # in preformatted text to the next of the columns that are four apart
                fill = 4 - (at - line_start) % 4 if not breaks and at else 4
                byte = np.uint8(32)
            if tab:
                if at and out[at - 1] != 10 and not breaks:
                    out[at] = 9
                    at += 1
                tab = blank = False
            if breaks:
                if at:
                    for _ in range(min(breaks, 50)):
                        out[at] = 10
                        at += 1
                breaks = 0
                blank = False
            if at == 0 or out[at - 1] == 10:
                blank = False
                line_start = at
                for level in range(1, min(depth, _DEEPEST) + 1):
                    if level == min(depth, _DEEPEST) and marker:
                        break
                    for _ in range(width[level]):
                        out[at] = 32
                        at += 1
            if marker:
                level = min(depth, _DEEPEST)
                marker = False
                begin = at
                if ordered[level]:
                    value, digits = number[level], 1
                    while value >= 10**digits:
                        digits += 1
                    for place in range(digits):
                        out[at + digits - 1 - place] = 48 + value % 10
                        value //= 10
                    at += digits
                    out[at] = 46
                    at += 1
                else:
                    out[at] = 45
                    at += 1
                out[at] = 32
                at += 1
                width[level] = at - begin
                blank = False
            if blank and at and out[at - 1] > 32:
                out[at] = 32
                at += 1
            blank = False
            if in_grid:
                row_begun = True
            for _ in range(fill):
                out[at] = byte
                at += 1
    return out[:at].copy()

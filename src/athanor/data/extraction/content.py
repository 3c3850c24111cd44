"""Which blocks of a page are its content.

In: an outline. Out: one flag per block. Every block gets a score from what it is (length, sentences, links, tag) and
what the elements around it say of themselves (semantic tags, words of class names); the squashed score times
the block's size is its worth, and the content is the element whose blocks are worth most together, as in maximum
subsequence segmentation (Pasternack and Roth 2009) but over the tree; the features are those of Kohlschuetter et
al. (2010). Within it blocks with a positive score stay, and what stands between them and is no boilerplate:
headings of what follows, short paragraphs, cells, items, lines of code. A hint that would condemn most of the
page's prose is void. Where less than half of what no element condemns is found, the page is no article and all of that
stays; where nothing is left, whatever is not navigation: never nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.data.extraction.outline import Outline
from athanor.data.extraction.vocabulary import HINTS, TAG_NUMBERS, TAGS

Flags = NDArray[np.bool_]

# What the tags around a block say, as further bits beside the hints.
_NAV, _ASIDE, _FOOTER, _HEADER, _FORM, _FIGURE, _ARTICLE, _ITEM, _CELL, _PARAGRAPH, _CODE, _QUOTE, _LIST = (
    1 << bit for bit in range(16, 29)
)
_SAID_BY_TAG = {
    "nav": _NAV, "aside": _ASIDE, "footer": _FOOTER, "header": _HEADER, "form": _FORM, "figure": _FIGURE,
    "figcaption": _FIGURE, "article": _ARTICLE, "main": _ARTICLE, "li": _ITEM, "dd": _ITEM, "dt": _ITEM, "td": _CELL,
    "th": _CELL, "caption": _CELL, "summary": _ITEM, "p": _PARAGRAPH, "pre": _CODE, "blockquote": _QUOTE,
    "ul": _LIST, "ol": _LIST, "dl": _LIST, "table": _LIST, "tbody": _LIST, "tr": _LIST,
}  # fmt: skip
_SAID = np.array([0, *(_SAID_BY_TAG.get(name, 0) for name in TAGS)], np.int64)
_HEADING = np.array([False, *(name in ("h1", "h2", "h3", "h4", "h5", "h6") for name in TAGS)])
_CONDEMNED = (
    HINTS.boilerplate | HINTS.widget | HINTS.comments | HINTS.caption | HINTS.byline
    | _NAV | _ASIDE | _FOOTER | _HEADER | _FORM | _FIGURE
)  # fmt: skip
_NO_CONTAINER = _PARAGRAPH | _ITEM | _CODE | _QUOTE | _CELL | _LIST
"""Of these the element around is the content."""

_PROSE_SIZE = 60
"""Smaller blocks do not count as prose when it is asked whether a hint condemns most of a page."""
_LONGEST_ROW = 300
"""Longer rows arrange the page, so their cells have nothing to do with each other."""
_CLEAN_SIZE = 15
"""Smaller blocks do not count when it is asked how much of a page is left out; buttons and labels are that short."""
_LEAST_SHARE = 0.5
"""Of what no element condemns; a page of which less is found is no article, and all of that is kept."""
_LARGEST_WORTH = 600
"""A block's size counts up to here, so that one long block does not outvote ten of an article."""


def content_blocks(page: Outline) -> Flags:
    """Which blocks of `page` are its content."""
    kept: Flags = _content_blocks(
        page.tag, page.parent, page.hints, page.block_element, page.characters, page.link_characters, page.commas,
        page.stops, page.wide, page.final, _SAID, _HEADING, TAG_NUMBERS, HINTS, _CONDEMNED,
    )  # fmt: skip
    return kept


@kernel
def _around(tag: Any, parent: Any, hints: Any, prose: Any, said: Any, tags: Any, hint: Any, condemned: Any) -> Any:
    """What each element and those around it say, as bits."""
    around = np.zeros(len(tag), np.int64)
    for e in range(len(tag)):
        own = said[tag[e]]
        if tag[e] != tags.body and tag[e] != tags.html:  # classes of html and body speak of the whole page
            own |= hints[e] & ~(hint.hidden | hint.link)
        if prose[e] * 2 > prose[0]:
            own &= ~condemned
        if own & (hint.body | hint.article_body):
            own &= ~(hint.widget | hint.byline | hint.caption | hint.boilerplate)
        around[e] = own | around[parent[e]] if parent[e] >= 0 else own
    return around


@kernel
def _score(
    flags: Any, heading: Any, size: Any, link_density: Any, commas: Any, stops: Any, ends: Any, hint: Any
) -> Any:
    """How much a block looks like content; positive if it does."""
    score = -1.2
    if flags & (_PARAGRAPH | _CODE | _QUOTE):
        score += 1.2
    elif heading or flags & (_ITEM | _CELL):
        score += 0.3
    score += 0.6 * (size >= 40) + 0.7 * (size >= 80) + 0.8 * (size >= 200)
    score += 0.7 * (stops > 0) + 0.3 * ends + 0.3 * (commas > 0)
    score -= (1.0 if flags & _CODE else 4.0) * link_density  # documentation links the names in its code
    if flags & hint.article_body:
        score += 1.2
    elif flags & hint.body:
        score += 0.8
    score += 0.4 * (flags & _ARTICLE != 0)
    score -= (
        2.5 * (flags & hint.boilerplate != 0) + 1.5 * (flags & hint.widget != 0) + 3.5 * (flags & hint.comments != 0)
    )
    score -= 2.5 * (flags & hint.caption != 0) + 2.0 * (flags & hint.byline != 0)
    score -= 3.0 * (flags & _NAV != 0) + 2.5 * (flags & _ASIDE != 0) + 2.5 * (flags & _FOOTER != 0)
    score -= 1.0 * (flags & _HEADER != 0) + 1.5 * (flags & _FORM != 0) + 2.0 * (flags & _FIGURE != 0)
    return score


@kernel
def _content_blocks(
    tag: Any, parent: Any, hints: Any, block_element: Any, characters: Any, link_characters: Any, commas: Any,
    stops: Any, wide: Any, final: Any, said: Any, is_heading: Any, tags: Any, hint: Any, condemned: Any,
) -> Any:  # fmt: skip
    num_elements, num_blocks = len(tag), len(block_element)
    keep = np.zeros(num_blocks, np.bool_)
    if num_blocks == 0:
        return keep
    # Characters of scripts without blanks say as much as three letters.
    size = characters + 2 * wide
    prose = np.zeros(num_elements, np.int64)
    for b in range(num_blocks):
        if size[b] >= _PROSE_SIZE and link_characters[b] * 3 < characters[b] and stops[b] + commas[b] > 0:
            prose[block_element[b]] += size[b]
    for e in range(num_elements - 1, 0, -1):
        if parent[e] >= 0:
            prose[parent[e]] += prose[e]
    around = _around(tag, parent, hints, prose, said, tags, hint, condemned)

    score = np.zeros(num_blocks)
    worth = np.zeros(num_elements)
    for b in range(num_blocks):
        e = block_element[b]
        density = link_characters[b] / max(characters[b], 1)
        score[b] = _score(around[e], is_heading[tag[e]], size[b], density, commas[b], stops[b], final[b] == 1, hint)
        worth[e] += np.tanh(score[b] / 2) * min(size[b], _LARGEST_WORTH) ** 0.8
    for e in range(num_elements - 1, 0, -1):
        if parent[e] >= 0:
            worth[parent[e]] += worth[e]
    best = 0
    for e in range(num_elements):
        if worth[e] >= worth[best]:  # of equal ones the innermost
            best = e
    while parent[best] >= 0 and said[tag[best]] & _NO_CONTAINER:
        best = parent[best]
    inside = np.zeros(num_elements, np.bool_)
    for e in range(best, num_elements):
        inside[e] = e == best or (parent[e] >= 0 and inside[parent[e]])

    clean = (around[block_element] & condemned == 0) & (link_characters * 2 < characters)
    first, last = num_blocks, -1
    kept_size = clean_size = 0
    for b in range(num_blocks):
        if inside[block_element[b]] and score[b] > 0:
            keep[b] = True
            first, last = min(first, b), b
            kept_size += size[b]
        if keep[b] or (clean[b] and size[b] >= _CLEAN_SIZE):
            clean_size += size[b]
    if kept_size == 0:
        return _all_but_boilerplate(around, block_element, characters, link_characters, keep, hint)
    if kept_size < _LEAST_SHARE * clean_size:  # no article: a list, a table, notes, a home page
        return keep | clean

    while last + 1 < num_blocks:  # lists, tables and code at the end
        e = block_element[last + 1]
        if not (inside[e] and around[e] & (_ITEM | _CELL | _CODE)) or around[e] & condemned:
            break
        if link_characters[last + 1] * 3 >= characters[last + 1]:
            break
        last += 1
        keep[last] = True
    for b in range(max(first - 2, 0), last):
        e = block_element[b]
        if b < first and not is_heading[tag[e]]:
            continue
        if keep[b] or not inside[e] or around[e] & (condemned & ~_HEADER):
            continue
        density = link_characters[b] / max(characters[b], 1)
        if is_heading[tag[e]]:
            keep[b] = density < 0.7 and (keep[b + 1] or (b + 2 < num_blocks and keep[b + 2]))
        else:
            keep[b] = density < 0.5 and around[e] & (_PARAGRAPH | _CODE | _ITEM | _CELL) != 0
    return _whole_rows(tag, parent, block_element, size, link_characters, around, keep, tags, condemned)


@kernel
def _whole_rows(
    tag: Any, parent: Any, block_element: Any, size: Any, link_characters: Any, around: Any, keep: Any, tags: Any,
    condemned: Any,
) -> Any:  # fmt: skip
    """Keep the other cells of rows of which some are kept: a number without its name says nothing."""
    row = np.full(len(tag), -1, np.int32)  # the row around each element
    for e in range(len(tag)):
        if tag[e] == tags.tr:
            row[e] = e
        elif tag[e] != tags.table and parent[e] >= 0:
            row[e] = row[parent[e]]
    row_size = np.zeros(len(tag), np.int64)
    row_links = np.zeros(len(tag), np.int64)
    some = np.zeros(len(tag), np.bool_)
    for b in range(len(block_element)):
        r = row[block_element[b]]
        if r >= 0:
            row_size[r] += size[b]
            row_links[r] += link_characters[b]
            some[r] |= keep[b]
    for b in range(len(block_element)):
        r = row[block_element[b]]
        if r >= 0 and some[r] and row_size[r] <= _LONGEST_ROW and row_links[r] * 10 < row_size[r] * 9:
            keep[b] |= around[block_element[b]] & condemned == 0
    return keep


@kernel
def _all_but_boilerplate(
    around: Any, block_element: Any, characters: Any, link_characters: Any, keep: Any, hint: Any
) -> Any:
    any_kept = False
    for b in range(len(keep)):
        keep[b] = around[block_element[b]] & (hint.boilerplate | _NAV | _ASIDE | _FOOTER) == 0
        any_kept |= keep[b] and characters[b] > link_characters[b]
    if not any_kept:
        keep[:] = True
    return keep

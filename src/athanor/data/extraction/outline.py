"""The outline of a page: its elements, its blocks of text, and what is known of each, as flat arrays.

In: markup as a parser writes it back, UTF-8 (every element closed, attribute values in double quotes, `<`, `>` and `&`
escaped), so that one pass over the bytes sees the tree a browser sees. Out: `Outline`. A block is what stands
between two edges of block-level elements: a paragraph, a cell, a heading, the text of a link list's item. Elements
that are never text (scripts, forms' fields, hidden ones) appear in no block.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.data.extraction.vocabulary import (
    ATTRIBUTE_TABLE,
    ATTRIBUTES,
    FNV_OFFSET,
    FNV_PRIME,
    HINT_TABLE,
    HINTS,
    ROLE_TABLE,
    TAG_NUMBERS,
    TAG_TABLE,
)

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]

TEXT, OPEN, CLOSE, BREAK, RULE = range(5)
"""Kinds of tokens."""

_HASH_START, _PRIME = np.uint64(FNV_OFFSET), np.uint64(FNV_PRIME)


class Outline(NamedTuple):
    """Tokens in the order of the page; elements in the order they open; blocks in the order of the page."""

    token_kind: NDArray[np.int8]
    token_start: Ints
    """Of text: its first byte; of an edge: the element."""
    token_end: Ints
    """Of text: the byte after it."""
    token_block: Ints
    """Of text: its block; -1 otherwise."""
    tag: NDArray[np.int16]
    parent: Ints
    """The element around it; -1 for the first."""
    hints: Ints
    last_token: Ints
    """The token that closes the element."""
    block_element: Ints
    """The innermost block-level element around a block."""
    block_first: Ints
    """A block's first token."""
    characters: Ints
    """Characters of a block, runs of blanks counted once."""
    link_characters: Ints
    words: Ints
    commas: Ints
    stops: Ints
    """Marks at the end of a sentence, in any script."""
    wide: Ints
    """Characters of scripts that write without blanks."""
    final: Ints
    """Last byte of a block that is no blank, or 1 for a mark that ends a sentence."""


def outline(markup: Bytes) -> Outline:
    """The outline of `markup`."""
    num_tags = int(np.count_nonzero(markup == ord("<")))
    return Outline(
        *_outline(
            markup, num_tags, *TAG_TABLE, *ATTRIBUTE_TABLE, *HINT_TABLE, *ROLE_TABLE, TAG_NUMBERS, HINTS, ATTRIBUTES
        )
    )


@kernel
def _value(key: Any, hashes: Any, values: Any) -> Any:
    place = key & np.uint64(len(hashes) - 1)
    while hashes[place] != 0:
        if hashes[place] == key:
            return values[place]
        place = (place + np.uint64(1)) & np.uint64(len(hashes) - 1)
    return 0


@kernel
def _class_hints(markup: Any, start: Any, end: Any, hashes: Any, values: Any) -> Any:
    """What the words between `start` and `end` say: single ones, pairs and triples within one name."""
    hints = 0
    first = second = np.uint64(0)  # hashes of the two words before, 0: none
    i = start
    while i < end:
        word = _HASH_START
        length = 0
        lower_before = False
        while i < end:
            byte = markup[i]
            if 65 <= byte <= 90:
                if lower_before:
                    break
                byte = byte + 32
            elif 97 <= byte <= 122:
                lower_before = True
            elif 48 <= byte <= 57 and length:
                pass
            else:
                break
            word = (word ^ np.uint64(byte)) * _PRIME
            length += 1
            i += 1
        if length:
            hints |= _value(word, hashes, values)
            if second:
                hints |= _value((second * _PRIME) ^ word, hashes, values)
                if first:
                    hints |= _value((((first * _PRIME) ^ second) * _PRIME) ^ word, hashes, values)
            first, second = second, word
        elif markup[i] <= 32:
            first = second = np.uint64(0)
            i += 1
        else:
            i += 1
    return hints


@kernel
def _style_hides(markup: Any, start: Any, end: Any) -> Any:
    """Whether a style says `display:none`, or `visibility:hidden`."""
    for i in range(start, end):
        if markup[i] != 58:  # the colon
            continue
        j = i + 1
        while j < end and markup[j] <= 32:
            j += 1
        # By the letters that no other common property or value has in these places: d...y:none, v...y:hid
        none = j + 4 <= end and markup[j] == 110 and markup[j + 1] == 111 and markup[j + 3] == 101
        hidden = j + 6 <= end and markup[j] == 104 and markup[j + 1] == 105 and markup[j + 2] == 100
        if none and i >= start + 7 and markup[i - 7] == 100 and markup[i - 1] == 121:
            return True
        if hidden and i >= start + 10 and markup[i - 10] == 118 and markup[i - 1] == 121:
            return True
    return False


@kernel
def _outline(
    markup: Any, num_tags: Any, tag_hashes: Any, tag_values: Any, attribute_hashes: Any, attribute_values: Any,
    hint_hashes: Any, hint_values: Any, role_hashes: Any, role_values: Any, tags: Any, hint: Any, attr: Any,
) -> Any:  # fmt: skip
    size = len(markup)
    token_kind = np.zeros(2 * num_tags + 1, np.int8)
    token_start = np.zeros(2 * num_tags + 1, np.int32)
    token_end = np.zeros(2 * num_tags + 1, np.int32)
    token_block = np.full(2 * num_tags + 1, -1, np.int32)
    tag = np.zeros(num_tags + 1, np.int16)
    parent = np.full(num_tags + 1, -1, np.int32)
    hints = np.zeros(num_tags + 1, np.int32)
    last_token = np.zeros(num_tags + 1, np.int32)
    name_hash = np.zeros(num_tags + 1, np.uint64)
    block_element = np.zeros(num_tags + 1, np.int32)
    block_first = np.zeros(num_tags + 1, np.int32)
    characters = np.zeros(num_tags + 1, np.int32)
    link_characters = np.zeros(num_tags + 1, np.int32)
    words = np.zeros(num_tags + 1, np.int32)
    commas = np.zeros(num_tags + 1, np.int32)
    stops = np.zeros(num_tags + 1, np.int32)
    wide = np.zeros(num_tags + 1, np.int32)
    final = np.zeros(num_tags + 1, np.uint8)
    num_tokens = num_elements = num_blocks = 0
    current = -1  # the innermost open element
    block_level = -1  # the innermost open block-level element
    block = -1  # the block that text goes to; -1: the next text begins one
    blank = True  # whether the block's text so far ends with a blank
    links = 0  # how many of the open elements are links
    unseen = -1  # the outermost open element that is no text
    i = 0
    while i < size:
        if markup[i] != 60 or (i + 1 < size and markup[i + 1] <= 32):
            start = i
            while i < size and not (markup[i] == 60 and i > start):
                i += 1
            if unseen >= 0:
                continue
            j = start
            while j < i and markup[j] <= 32:
                j += 1
            if j == i:  # blanks alone begin no block
                if block >= 0:
                    token_kind[num_tokens], token_start[num_tokens], token_end[num_tokens] = TEXT, start, i
                    token_block[num_tokens] = block
                    num_tokens += 1
                    if not blank:
                        characters[block] += 1
                        blank = True
                continue
            if block < 0:
                block = num_blocks
                num_blocks += 1
                block_element[block], block_first[block] = block_level, num_tokens
                blank = True
            token_kind[num_tokens], token_start[num_tokens], token_end[num_tokens] = TEXT, start, i
            token_block[num_tokens] = block
            num_tokens += 1
            count = 0
            j = start
            while j < i:
                byte = markup[j]
                if byte <= 32:
                    if not blank:
                        count += 1
                        blank = True
                    j += 1
                    continue
                if byte == 38:  # an entity is one character; &nbsp; is a blank
                    if j + 5 < i and markup[j + 1] == 110:
                        if not blank:
                            count += 1
                            blank = True
                        j += 6
                        continue
                    k = j
                    while k < i and markup[k] != 59:
                        k += 1
                    j = k
                if byte & 0xC0 != 0x80:
                    count += 1
                    if blank:
                        words[block] += 1
                    blank = False
                if byte == 44:
                    commas[block] += 1
                    final[block] = 44
                elif byte == 46 or byte == 33 or byte == 63:
                    if (
                        j + 1 >= i
                        or markup[j + 1] <= 32
                        or markup[j + 1] == 34
                        or markup[j + 1] >= 128
                        or markup[j + 1] == 38
                    ):
                        stops[block] += 1
                    final[block] = 1
                elif byte == 0xE3 and j + 2 < i and markup[j + 1] == 0x80:
                    if markup[j + 2] == 0x82:
                        stops[block] += 1
                        final[block] = 1
                    elif markup[j + 2] == 0x81:
                        commas[block] += 1
                    j += 2
                elif byte == 0xEF and j + 2 < i and markup[j + 1] == 0xBC:
                    if markup[j + 2] == 0x8C:
                        commas[block] += 1
                    elif markup[j + 2] == 0x81 or markup[j + 2] == 0x9F or markup[j + 2] == 0x8E:
                        stops[block] += 1
                        final[block] = 1
                    j += 2
                elif byte == 0xE2 and j + 2 < i and markup[j + 1] == 0x80:
                    if markup[j + 2] == 0xA6:
                        final[block] = 1  # dots; quotation marks leave what stood before them
                    j += 2
                elif byte == 0xD8 and j + 1 < i and (markup[j + 1] == 0x8C or markup[j + 1] == 0x9F):
                    if markup[j + 1] == 0x8C:
                        commas[block] += 1
                    else:
                        stops[block] += 1
                        final[block] = 1
                    j += 1
                elif byte == 0xE0 and j + 2 < i and markup[j + 1] == 0xA5 and markup[j + 2] == 0xA4:
                    stops[block] += 1
                    final[block] = 1
                    j += 2
                elif byte != 34 and byte != 41 and byte != 39:
                    if (0xE3 <= byte <= 0xED) or (byte == 0xE0 and j + 1 < i and 0xB8 <= markup[j + 1] <= 0xBB):
                        wide[block] += 1
                    final[block] = byte
                j += 1
            characters[block] += count
            if links:
                link_characters[block] += count
            continue
        if i + 1 < size and (markup[i + 1] == 33 or markup[i + 1] == 63):
            if i + 3 < size and markup[i + 2] == 45 and markup[i + 3] == 45:
                i += 4
                while i + 2 < size and not (markup[i] == 45 and markup[i + 1] == 45 and markup[i + 2] == 62):
                    i += 1
                i += 3
            else:
                while i < size and markup[i] != 62:
                    i += 1
                i += 1
            continue
        closing = i + 1 < size and markup[i + 1] == 47
        i += 2 if closing else 1
        name = _HASH_START
        while i < size and markup[i] > 32 and markup[i] != 62 and markup[i] != 47:
            byte = markup[i]
            if 65 <= byte <= 90:
                byte = byte + 32
            name = (name ^ np.uint64(byte)) * _PRIME
            i += 1
        if closing:
            while i < size and markup[i] != 62:
                i += 1
            i += 1
            # Written back by a parser, the innermost element is meant; a little tolerance for what is not.
            e, tries = current, 0
            while e >= 0 and name_hash[e] != name and tries < 32:
                e, tries = parent[e], tries + 1
            if e < 0 or name_hash[e] != name:
                continue
            while True:
                closed = current
                current = parent[closed]
                if unseen == closed:
                    unseen = -1
                elif unseen < 0:
                    if tag[closed] == tags.a and hints[closed] & hint.link:
                        links -= 1
                    if tag[closed] >= tags.first_block:
                        block = -1
                        token_kind[num_tokens], token_start[num_tokens] = CLOSE, closed
                        last_token[closed] = num_tokens
                        num_tokens += 1
                        up = current
                        while up >= 0 and tag[up] < tags.first_block:
                            up = parent[up]
                        block_level = up
                if closed == e:
                    break
            continue
        number = _value(name, tag_hashes, tag_values)
        void = number < 0
        if void:
            number = -number - 1
        own = 0
        is_hidden = False
        while i < size and markup[i] != 62:
            if markup[i] <= 32 or markup[i] == 47:
                i += 1
                continue
            key = _HASH_START
            while i < size and markup[i] != 61 and markup[i] > 32 and markup[i] != 62:
                key = (key ^ np.uint64(markup[i])) * _PRIME
                i += 1
            start = end = i
            if i + 1 < size and markup[i] == 61 and markup[i + 1] == 34:
                i += 2
                start = i
                while i < size and markup[i] != 34:
                    i += 1
                end = i
                i += 1
            elif i < size and markup[i] == 61:
                i += 1
            attribute = _value(key, attribute_hashes, attribute_values)
            if attribute == 0 or unseen >= 0:
                continue
            if attribute == attr.class_ or attribute == attr.id:
                own |= _class_hints(markup, start, end, hint_hashes, hint_values)
            elif attribute == attr.href:
                if end > start:
                    own |= hint.link
            elif attribute == attr.style:
                is_hidden |= _style_hides(markup, start, end)
            elif attribute == attr.hidden:
                is_hidden = True
            elif attribute == attr.aria_hidden:
                is_hidden |= end - start == 4 and markup[start] == 116 and number < tags.first_block
            else:
                word = _HASH_START
                for k in range(start, end):
                    word = (word ^ np.uint64(markup[k])) * _PRIME
                if attribute == attr.role:
                    own |= _value(word, role_hashes, role_values)
                elif (
                    attribute == attr.itemprop and end - start == 11 and markup[start] == 97 and markup[start + 7] == 66
                ):
                    own |= hint.article_body
        i += 1
        if void:
            if unseen >= 0:
                continue
            if number == tags.br and block >= 0:
                token_kind[num_tokens] = BREAK
                token_block[num_tokens] = block
                num_tokens += 1
                if not blank:
                    characters[block] += 1
                    blank = True
            elif number == tags.hr:
                token_kind[num_tokens] = RULE
                block = -1
                num_tokens += 1
            continue
        e = num_elements
        num_elements += 1
        tag[e], parent[e], hints[e], name_hash[e] = number, current, own, name
        current = e
        if unseen < 0:
            if 0 < number <= tags.last_dropped or (
                (is_hidden or own & hint.hidden) and number != tags.body and number != tags.html
            ):
                unseen = e
                if number >= tags.first_block:
                    block = -1
            elif number >= tags.first_block:
                block = -1
                block_level = e
                token_kind[num_tokens], token_start[num_tokens] = OPEN, e
                num_tokens += 1
            elif number == tags.a and own & hint.link:
                links += 1
        if 0 < number <= tags.last_raw:  # to the end tag of this name
            while i + 1 < size:
                if markup[i] == 60 and markup[i + 1] == 47:
                    j = i + 2
                    word = _HASH_START
                    while j < size and markup[j] > 32 and markup[j] != 62 and markup[j] != 47:
                        byte = markup[j]
                        if 65 <= byte <= 90:
                            byte = byte + 32
                        word = (word ^ np.uint64(byte)) * _PRIME
                        j += 1
                    if word == name:
                        break
                i += 1
    return (
        token_kind[:num_tokens], token_start[:num_tokens], token_end[:num_tokens], token_block[:num_tokens],
        tag[:num_elements], parent[:num_elements], hints[:num_elements], last_token[:num_elements],
        block_element[:num_blocks], block_first[:num_blocks], characters[:num_blocks], link_characters[:num_blocks],
        words[:num_blocks], commas[:num_blocks], stops[:num_blocks], wide[:num_blocks], final[:num_blocks],
    )  # fmt: skip

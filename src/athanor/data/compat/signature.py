"""MinHash signatures equal to datatrove's, 64 bits and SHA-1 as FineWeb has them.

In: a text. Out: the hashes of its shingles; `dedup.minhash.signature` makes the signature of them. The text is
simplified first (lower case, numbers become 0, marks become blanks, blanks become one, accents go); then spaCy splits
it.
"""

import re
import unicodedata
from functools import cache
from hashlib import sha1
from typing import Any

import numpy as np

from athanor.data.compat.characters import MARKS
from athanor.data.compat.spacy_words import MISSING, split_words
from athanor.data.dedup.words import Hashes

_BLANKS = re.compile(r"\s+")
_TO_BLANKS = str.maketrans(dict.fromkeys(MARKS, " "))


def shingle_hashes(text: str, shingle_words: int) -> Hashes:
    """The hash of every run of `shingle_words` words in order; none when there are fewer words."""
    words = split_words(simplified(text))
    shingles = (" ".join(words[i : i + shingle_words]) for i in range(len(words) - shingle_words + 1))
    first_bytes = b"".join(sha1(shingle.encode("utf-8", "surrogatepass")).digest()[:8] for shingle in shingles)
    return np.frombuffer(first_bytes, "<u8")


def simplified(text: str) -> str:
    """`text` without what copies of a page differ in.

    >>> simplified("Café, 3.14 and   2026!")
    'cafe 0 and 0'
    """
    text = _numbers().sub("0", text.lower()).translate(_TO_BLANKS)
    text = unicodedata.normalize("NFD", _BLANKS.sub(" ", text.strip()))
    return "".join(character for character in text if unicodedata.category(character) != "Mn").strip()


@cache
def _numbers() -> Any:
    """A number: digits of any script, a decimal mark of any script, digits."""
    try:
        import regex  # the standard library's `re` knows no classes of Unicode
    except ImportError as error:
        raise ValueError(MISSING.format(name=error.name)) from error
    return regex.compile(r"\p{Nd}+(?:[.,،٫⎖⎗⎘]\p{Nd}+)?")

"""Texts to measure tokenizers on, with their language and kind.

A place is a document shard, a folder of them, a JSON Lines file with a field `text`, or any text file. The
language is the document's own where it has one, otherwise the script that most of its letters belong to. The
kind is told from the file's suffix and from the share of digits and of marks that programs and formulas are full of:
a rough division, for a table that shows where a tokenizer spends its tokens.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from athanor.core.artifact import read_jsonl
from athanor.core.documents import read_documents, read_shard

_SUFFIXES = (
    ".c .cc .cpp .css .go .h .hpp .html .java .js .json .kt .php .pl .py .r .rb .rs .scala .sh .sql .swift .toml .ts"
    " .xml .yaml .yml"
)
CODE_SUFFIXES = frozenset(_SUFFIXES.split())
LOOKED_AT = 4000
"""Characters of a text that decide its kind and script."""
MIN_DIGITS, MIN_CODE_MARKS, MIN_FORMULA_MARKS = 0.2, 0.08, 0.02
_CODE_MARKS = frozenset("{}()[]<>=;_+*/&|\"'#:")
_GREEK = frozenset("αβγδελμπσθω")  # in a text of any other script they stand in formulas
_FORMULA_MARKS = frozenset("\\^$∑∫√≤≥≈∈∞→×·∂∇") | _GREEK


@dataclass(frozen=True)
class Sample:
    """One text and what sort of text it is."""

    text: str
    language: str
    """ISO 639-1 code, or the name of a script, such as `latin`."""
    kind: str
    """prose, code, mathematics or numbers."""


def read_samples(place: Path, max_bytes: int) -> Iterator[Sample]:
    """The texts at `place` until they make `max_bytes` of UTF-8; raises ValueError where there are none."""
    left = max_bytes
    for text, language in _texts(place):
        if left <= 0:
            return
        cut = text if len(text) <= left else text[:left]
        left -= len(cut.encode("utf-8", "replace"))
        yield Sample(cut, language or script_of(cut), kind_of(cut, place.suffix))


def _texts(place: Path) -> Iterator[tuple[str, str]]:
    """Every text with its language, empty where none is given."""
    if place.is_dir():
        folder = place / "documents" if (place / "documents").is_dir() else place
        if not any(folder.glob("*.parquet")):
            raise ValueError(f"{place}: no document shards (00000.parquet, ...) here or in documents/")
        yield from ((document.text, document.language) for document in read_documents(folder))
    elif not place.is_file():
        raise ValueError(f"{place}: no such file or folder of texts")
    elif place.suffix == ".parquet":
        yield from ((document.text, document.language) for document in read_shard(place))
    elif place.suffix == ".jsonl":
        for number, row in enumerate(read_jsonl(place), start=1):
            if not isinstance(row.get("text"), str):
                raise ValueError(f"{place}: line {number} has no 'text' field; found {', '.join(sorted(row))}")
            yield row["text"], str(row.get("language") or "")
    else:
        yield place.read_text(encoding="utf-8", errors="replace"), ""


def kind_of(text: str, suffix: str = "") -> str:
    """prose, code, mathematics or numbers.

    >>> kind_of("def f(x): return [y for y in x if y['a'] == 1]")
    'code'
    """
    if suffix in CODE_SUFFIXES:
        return "code"
    counts = Counter(text[:LOOKED_AT])
    total = sum(count for character, count in counts.items() if not character.isspace()) or 1
    if sum(count for character, count in counts.items() if character.isdigit()) > MIN_DIGITS * total:
        return "numbers"
    marks = _FORMULA_MARKS - _GREEK if script_of(text) == "greek" else _FORMULA_MARKS
    if sum(counts[mark] for mark in marks) > MIN_FORMULA_MARKS * total:
        return "mathematics"
    if sum(counts[mark] for mark in _CODE_MARKS) > MIN_CODE_MARKS * total:
        return "code"
    return "prose"


def script_of(text: str) -> str:
    """The script of most letters, by the first word of their Unicode names; `none` without letters.

    >>> script_of("Привет, world"), script_of("12 + 3")
    ('cyrillic', 'none')
    """
    scripts: Counter[str] = Counter()
    for character, count in Counter(text[:LOOKED_AT]).items():
        if character.isalpha():
            scripts[unicodedata.name(character, "unnamed").split()[0].lower()] += count
    return min(scripts, key=lambda script: (-scripts[script], script)) if scripts else "none"

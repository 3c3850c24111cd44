"""The word and sentence split of datatrove for English: spaCy's rule-based tokenizer, without a model.

In: a text. Out: its words, or its sentences. spaCy is an extra (`pip install 'athanor[compat]'`); nothing of it is
imported before the first text.
"""

from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

MISSING = "compat 'datatrove' needs packages that are not installed ({name}); run: pip install 'athanor[compat]'"
BREAKS_SPACY = "IS_ALPHA"  # a name inside spaCy; texts that hold it are read without it where it fails


@lru_cache(maxsize=4)
def split_words(text: str) -> tuple[str, ...]:
    """The words of `text`, blanks left out.

    Raises ValueError where spaCy is not installed.
    """
    with _pipeline().memory_zone():
        stripped = (token.text.strip() for token in _read(text))
        return tuple(word for word in stripped if word)


def sentences(text: str) -> list[str]:
    """`text` cut where sentences begin; together the parts are the whole text, and an empty text is one part."""
    with _pipeline().memory_zone():
        ends = [sentence.end_char for sentence in _read(text).sents]
    cuts = [0, *ends[:-1], len(text)]
    return [text[start:end] for start, end in pairwise(cuts)]


def require_spacy() -> None:
    """Raises ValueError where spaCy is not installed."""
    _pipeline()


def _read(text: str) -> Any:
    pipeline = _pipeline()
    pipeline.max_length = len(text) + 10
    try:
        return pipeline(text)
    except Exception:
        if BREAKS_SPACY not in text:
            raise
        return pipeline(text.replace(BREAKS_SPACY, ""))


@cache
def _pipeline() -> Any:
    try:
        import spacy
    except ImportError as error:
        raise ValueError(MISSING.format(name=error.name)) from error
    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    return pipeline

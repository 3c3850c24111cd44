"""Rows of published corpora to documents: which column means what.

Formats as published: C4 (Raffel et al. 2020; allenai/c4: url, timestamp, text), The Pile (Gao et al. 2020: text,
meta.pile_set_name), Dolma (Soldaini et al. 2024, docs/data-format: id, text, source, created, metadata), FineWeb
(Penedo et al. 2024: id, url, date, language, text, and what its filters measured). `auto` takes these names and those
of their relatives (OSCAR, CulturaX, RedPajama, SlimPajama, DCLM, Wikipedia). Everything else of a row is kept in the
document's metadata.
"""

import datetime
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from athanor.core.documents import Document
from athanor.data.corpora.config import Columns, Read

KNOWN: dict[str, dict[str, tuple[str, ...]]] = {
    "auto": {
        "id": ("id", "doc_id", "_id", "docid"),
        "url": ("url", "metadata.url", "meta.url", "metadata.WARC-Target-URI", "warc_headers.warc-target-uri"),
        "text": ("text", "content", "raw_content"),
        "source": ("source", "meta.pile_set_name", "meta.redpajama_set_name", "meta.source"),
        "date": (
            "date",
            "timestamp",
            "created",
            "metadata.date",
            "metadata.WARC-Date",
            "warc_headers.warc-date",
            "added",
        ),
        "language": ("language", "lang", "meta.language", "metadata.language"),
    },
    "c4": {"url": ("url",), "text": ("text",), "date": ("timestamp",)},
    "pile": {"text": ("text",), "source": ("meta.pile_set_name",)},
    "dolma": {
        "id": ("id",),
        "url": ("metadata.url", "metadata.WARC-Target-URI"),
        "text": ("text",),
        "source": ("source",),
        "date": ("created", "metadata.date", "added"),
        "language": ("metadata.language",),
    },
    "fineweb": {
        "id": ("id",),
        "url": ("url",),
        "text": ("text",),
        "date": ("date",),
        "language": ("language",),
    },
}
_NESTED = ("metadata", "meta")  # what stands in these goes into the document's metadata without their name


class RowError(ValueError):
    """A row that holds no document; the message says why and can be counted."""


def columns_of(config: Read) -> dict[str, tuple[str, ...]]:
    """For every field of a document the columns that may hold it, the first present one counts."""
    known = KNOWN.get(config.format, KNOWN["auto"])
    return {
        name: (chosen,) if chosen else known.get(name, ())
        for name, chosen in asdict(config.columns or Columns()).items()
    }


def document_of_row(row: Any, columns: Mapping[str, tuple[str, ...]], config: Read, place: str) -> Document:
    """The document in a row; `place` makes the id of a row without one. Raises RowError."""
    if not isinstance(row, dict):
        raise RowError(f"not an object but {type(row).__name__}")
    found: dict[str, Any] = {}
    used: set[str] = set()
    for name, paths in columns.items():
        for path in paths:
            value = _at(row, path)
            if value is not None:
                found[name] = value
                used.add(path)
                break
    if "text" not in found:
        raise RowError(f"no {' or '.join(repr(path) for path in columns['text'])}")
    text = found["text"]
    if not isinstance(text, str):
        raise RowError(f"text is {type(text).__name__}")
    text = _well_formed(text)
    if not text.strip():
        raise RowError("empty text")
    url = _word(found.get("url"))
    default = config.format if config.format not in ("auto", "text") else "corpus"
    return Document(
        id=_word(found.get("id")) or hashlib.sha256(f"{place}\n{url}\n{text}".encode()).hexdigest()[:16],
        url=url,
        text=text,
        source=config.source or _word(found.get("source")) or default,
        date=_word(found.get("date")),
        language=_word(found.get("language")) or config.language,
        metadata=_rest(row, used) if config.keep_metadata else {},
    )


def _at(row: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or None; a column whose name holds the dots counts as well."""
    if path in row:
        return row[path]
    head, dot, tail = path.partition(".")
    inner = row.get(head) if dot else None
    return _at(inner, tail) if isinstance(inner, dict) else None


def _rest(row: Mapping[str, Any], used: set[str]) -> dict[str, Any]:
    """The columns that no field of the document took, as JSON can hold them."""
    rest: dict[str, Any] = {}
    for name, value in row.items():
        if name in used or value is None:
            continue
        if name in _NESTED and isinstance(value, dict):
            inner = {key: item for key, item in value.items() if f"{name}.{key}" not in used and item is not None}
            rest = {**inner, **rest}  # an outer column of the same name wins
        else:
            rest[name] = value
    return {_well_formed(str(name)): _plain(value) for name, value in rest.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _well_formed(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, dict):
        return {_well_formed(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _word(value)


def _word(value: Any) -> str:
    """A value as one string: dates in ISO 8601, nested things as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _well_formed(value)
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, dict | list):
        return _well_formed(json.dumps(_plain(value), ensure_ascii=False, sort_keys=True))
    return str(value)


def _well_formed(text: str) -> str:
    """`text` with halves of surrogate pairs, which JSON can write and UTF-8 cannot, joined or replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text

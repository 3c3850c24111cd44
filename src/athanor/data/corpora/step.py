"""The step that turns a published corpus, as it is, into shards of documents.

In: files named by the config, here or elsewhere, or a Hugging Face dataset. Out: `documents/`, in the order of the
files and of the rows within; `errors.jsonl`, what could not be read and where; `sources.jsonl`, the files that were
read. Finished pieces of work are kept when a run is killed.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from athanor.core.artifact import WORK, read_json, read_jsonl, write_json, write_jsonl
from athanor.core.console import warn
from athanor.core.documents import Document, gather_shards, write_shards
from athanor.core.sources import MissingSourceError, Source, local_copy, sources
from athanor.core.workers import map_shards
from athanor.data.corpora.config import Read
from athanor.data.corpora.fields import RowError, columns_of, document_of_row
from athanor.data.corpora.huggingface import dataset_rows, num_dataset_shards
from athanor.data.corpora.parts import Piece, parts_of
from athanor.data.corpora.rows import rows_of

LISTED_ERRORS = 1000
"""Problems listed one by one for each piece of work; more are counted."""

# What is taken of folders and patterns: README files and checksums lie beside the data of most corpora.
_WANTED = re.compile(
    r"\.(jsonl?|ndjson|parquet|txt|text|md|rst)(\.(gz|gzip|zst|zstd|lz4|bz2|xz))?$|\.(gz|zst|zstd)$", re.IGNORECASE
)
_ARCHIVE = re.compile(r"\.(warc|wet|wat)(\.|$)", re.IGNORECASE)
_ASIDE = re.compile(r"^(readme|licen[cs]e|sha256sums?|md5sums?|checksums?)(\.|$)", re.IGNORECASE)


def run(config: Read, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Write the documents of the corpus that `config` names into `out`; returns the counts.

    Raises ValueError when there is nothing to read, or nothing that was read is a document.
    """
    if not config.paths and not config.dataset:
        raise ValueError("nothing to read: give paths (files, folders, patterns, URLs) or dataset (a name)")
    work = out / WORK
    parts = _parts(config, work)
    one_part = partial(_read_part, config=config, work=work)
    sizes = [sum(piece["size_bytes"] for piece in read_json(part)["pieces"]) for part in parts]
    counts = map_shards(
        one_part, parts, workers=config.workers, done=work / "read", label="read", unit="parts", sizes=sizes
    )
    folders = [work / "parts" / part.stem for part in parts]
    gather_shards([(folder, count["shards"]) for folder, count in zip(folders, counts, strict=True)], out / "documents")
    write_jsonl(out / "errors.jsonl", _errors(folders))
    write_jsonl(out / "sources.jsonl", _distinct_sources(parts))
    total: Counter[str] = Counter()
    for count in counts:
        total.update({name: count[name] for name in ("rows", "documents", "bytes_text", "errors")})
    if not total["documents"]:
        first = next(iter(read_jsonl(out / "errors.jsonl")), {"problem": "the files are empty"})
        raise ValueError(
            f"none of {total['rows']} rows gave a document; the first problem: "
            f"{first.get('file', '')} {first.get('place', '')}: {first['problem']}"
        )
    if total["errors"]:
        warn(f"read: {total['errors']} problems in {total['rows']} rows, listed in {out / 'errors.jsonl'}")
    return {
        "files": sum(1 for _ in read_jsonl(out / "sources.jsonl")),
        "bytes_in": sum(sizes),
        "rows": total["rows"],
        "documents": total["documents"],
        "bytes_text": total["bytes_text"],
        "errors": total["errors"],
        "problems": _summed(count["problems"] for count in counts),
        "sources": _summed(count["sources"] for count in counts),
        "languages": _summed(count["languages"] for count in counts),
    }


def _parts(config: Read, work: Path) -> list[Path]:
    """One file for each piece of work; listed once, so that a run that continues does the same."""
    listed, folder = work / "listed.json", work / "described"
    if not listed.exists():
        described = list(_described(config))
        for index, part in enumerate(described):
            write_json(folder / f"{index:05d}.json", part)
        write_json(listed, len(described))
    return [folder / f"{index:05d}.json" for index in range(read_json(listed))]


def _described(config: Read) -> Iterator[dict[str, Any]]:
    if config.dataset:
        num_shards = num_dataset_shards(config)
        for index in range(num_shards):
            yield {"pieces": [asdict(Piece(Source(f"{config.dataset}/{index}")))], "dataset_shards": num_shards}
        return
    files = [source for source in sources(config.paths, _WANTED) if not _ASIDE.match(source.name)]
    archive = next((source for source in files if _ARCHIVE.search(source.name)), None)
    if archive:
        raise ValueError(f"{archive.address}: a web archive; data.extract reads these")
    if not files:
        raise ValueError(f"{', '.join(config.paths)}: no JSON lines, Parquet or text files")
    for part in parts_of(files, config):
        yield {"pieces": [asdict(piece) for piece in part]}


def _read_part(part: Path, config: Read, work: Path) -> dict[str, Any]:
    """Write the documents of one piece of work in shards of its own; the counts."""
    counts = _Counts()
    folder = work / "parts" / part.stem
    described = read_json(part)
    documents = (
        document
        for piece in described["pieces"]
        for document in _documents(piece, described.get("dataset_shards"), config, work / "fetched", counts)
    )
    shards, number, bytes_text = write_shards(folder, documents, config.shard_bytes)
    write_jsonl(folder / "errors.jsonl", counts.listed_errors())
    return {
        "shards": shards,
        "documents": number,
        "bytes_text": bytes_text,
        "rows": counts.rows,
        "errors": counts.errors,
        "problems": dict(counts.problems),
        "sources": dict(counts.sources),
        "languages": dict(counts.languages),
    }


def _documents(
    piece: dict[str, Any], dataset_shards: int | None, config: Read, scratch: Path, counts: "_Counts"
) -> Iterator[Document]:
    """The documents of one piece of a file."""
    source = Source(**piece["source"])
    columns = columns_of(config)

    def report(place: str, problem: str) -> None:
        counts.problem(source.address, place, problem)

    def found(rows: Iterable[tuple[str, Any]]) -> Iterator[Document]:
        number = 0
        for place, row in rows:
            counts.rows += 1
            try:
                document = document_of_row(row, columns, config, f"{source.name} {place}")
            except RowError as error:
                report(place, str(error))
                continue
            counts.sources[document.source] += 1
            counts.languages[document.language or "unknown"] += 1
            yield document
            number += 1
            if number == config.max_documents:
                return

    if dataset_shards is not None:
        yield from found(dataset_rows(config, int(source.name), dataset_shards))
        return
    try:
        with local_copy(source, scratch) as path:
            yield from found(rows_of(path, source.name, config, report, piece["start"], piece["end"]))
    except (MissingSourceError, FileNotFoundError, PermissionError) as error:
        report("file", f"not to be had: {error}")


class _Counts:
    """What is counted while one piece of work is read."""

    def __init__(self) -> None:
        self.rows = self.errors = 0
        self.problems: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self._listed: list[dict[str, str]] = []

    def problem(self, file: str, place: str, problem: str) -> None:
        """Note one problem."""
        self.errors += 1
        self.problems[re.sub(r"\d+", "N", problem).partition(":")[0]] += 1
        if len(self._listed) < LISTED_ERRORS:
            self._listed.append({"file": file, "place": place, "problem": problem})

    def listed_errors(self) -> Iterator[dict[str, str]]:
        """The rows for errors.jsonl."""
        yield from self._listed
        more = self.errors - len(self._listed)
        if more:
            yield {"file": self._listed[-1]["file"], "place": "", "problem": f"and {more} more problems, counted only"}


def _errors(folders: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for folder in folders:
        yield from read_jsonl(folder / "errors.jsonl")


def _distinct_sources(parts: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Every file once, in order."""
    last = None
    for part in parts:
        for piece in read_json(part)["pieces"]:
            if piece["source"] != last:
                yield piece["source"]
            last = piece["source"]


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Counts added up, the largest first; of many different ones the hundred largest."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    ordered = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[100:])
    return dict(ordered[:100]) | ({"others": rest} if rest else {})

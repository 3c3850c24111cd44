"""Where documents lie: the folders of a step's result, the results of a run, and rows read one batch at a time.

A result is read as it stands on disk: `documents/` or the parts of a mixture, and `removed/`. Parquet files of others
(FineWeb's, say) are read too: columns that are no document's go to `metadata`, those that are missing are empty.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from athanor.core.artifact import Manifest, read_manifest
from athanor.core.config import suggestion
from athanor.core.documents import COLUMNS, REMOVED_COLUMNS, Document, Removed, shards
from athanor.core.mixture import PARTS

BATCH_ROWS = 256


@dataclass(frozen=True)
class Result:
    """A finished step, or a bare folder of documents (then without a manifest)."""

    folder: Path
    manifest: Manifest | None

    @property
    def name(self) -> str:
        return self.manifest.name if self.manifest else self.folder.name

    @property
    def kind(self) -> str:
        return self.manifest.kind if self.manifest else ""

    @property
    def kept(self) -> list[str]:
        """The subfolders with documents that the step kept; "" for a bare folder."""
        found = [name for name in ("documents", *PARTS) if (self.folder / name).is_dir()]
        return found or [""]

    @property
    def has_removed(self) -> bool:
        return (self.folder / "removed").is_dir()


def result_at(folder: Path) -> Result:
    """The result in `folder`; raises ValueError where there are neither documents nor removed ones."""
    if not folder.is_dir():
        beside = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
        raise ValueError(f"{folder}: no such folder; {suggestion(folder.name, beside)}")
    result = Result(folder, read_manifest(folder))
    if not result.has_removed and not any(shards(folder / part) for part in result.kept):
        raise ValueError(f"{folder}: no documents (00000.parquet, ...) here, in documents/, removed/ or train/")
    return result


def results_of_run(run: Path) -> list[Result]:
    """The newest finished results of a run that hold documents, each after those it was made from.

    Raises ValueError where there are none.
    """
    newest: dict[str, Result] = {}
    for folder in sorted(path for path in run.iterdir() if path.is_dir()) if run.is_dir() else []:
        manifest = read_manifest(folder)
        if manifest is None or not _holds_documents(folder):
            continue
        known = newest.get(manifest.name)
        if known is None or known.manifest is None or manifest.ended > known.manifest.ended:
            newest[manifest.name] = Result(folder, manifest)
    if not newest:
        raise ValueError(f"{run}: no finished step with documents; give the folder of a run, such as runs/quickstart")
    return in_order(list(newest.values()))


def in_order(results: Sequence[Result]) -> list[Result]:
    """The results, each after those it was made from, otherwise as they come."""
    waiting, ordered = list(results), []
    made: set[str] = set()
    known = {result.manifest.fingerprint for result in results if result.manifest}
    while waiting:
        ready = (r for r in waiting if not r.manifest or all(i in made or i not in known for i in _inputs(r)))
        chosen = next(ready, waiting[0])
        waiting.remove(chosen)
        ordered.append(chosen)
        if chosen.manifest:
            made.add(chosen.manifest.fingerprint)
    return ordered


def newest_run(runs: Path = Path("runs")) -> Path:
    """The folder of the run that finished a step last; raises ValueError where there is none."""
    manifests = sorted(runs.glob("*/*/manifest.json"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        raise ValueError(f"no run in {runs.resolve()}; name one with --run, or results with --folders")
    return manifests[-1].parent.parent


def kept_rows(result: Result, part: str) -> Iterator[Document]:
    """The documents of one part of a result."""
    for path in shards(result.folder / part):
        for row in rows_of(path):
            yield _document(row)


def removed_rows(result: Result) -> Iterator[Removed]:
    """The removed documents of a result."""
    if result.has_removed:
        for path in shards(result.folder / "removed"):
            for row in rows_of(path):
                yield _removed(row)


def rows_of(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, a batch of them in memory at a time; `columns` that the file lacks are left out."""
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        present = file.schema_arrow.names
        if "text" not in present:
            raise ValueError(f"{path}: no column text; found {', '.join(present)}")
        wanted = None if columns is None else [name for name in columns if name in present]
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=wanted):
            yield from batch.to_pylist()


def _document(row: dict[str, Any]) -> Document:
    metadata = {key: value for key, value in row.items() if key not in REMOVED_COLUMNS}
    noted = row.get("metadata")
    metadata |= json.loads(noted or "{}") if isinstance(noted, str) or noted is None else noted
    fields = {name: str(row.get(name) or "") for name in COLUMNS if name != "metadata"}
    return Document(**fields, metadata=metadata)


def _removed(row: dict[str, Any]) -> Removed:
    return Removed(_document(row), str(row.get("removed_by") or ""), str(row.get("reason") or ""))


def _inputs(result: Result) -> list[str]:
    return list(result.manifest.inputs.values()) if result.manifest else []


def _holds_documents(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in ("documents", "removed", *PARTS))

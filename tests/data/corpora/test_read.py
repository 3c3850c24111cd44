"""Published corpora are read as they are, whole, and the same whoever does the work."""

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from packing import PACKINGS, json_lines, packed

from athanor.core.artifact import read_jsonl
from athanor.core.documents import Document, read_documents, shards
from athanor.data.corpora import parts, step
from athanor.data.corpora.config import Columns, Read
from athanor.data.corpora.rows import rows_of
from athanor.data.corpora.step import run

# One row of each corpus as its publishers describe it, and the document it stands for.
PUBLISHED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "c4": (
        {"text": "Some text.", "timestamp": "2019-04-25T12:57:54Z", "url": "https://a.example/b"},
        {"url": "https://a.example/b", "date": "2019-04-25T12:57:54Z", "source": "c4"},
    ),
    "pile": (
        {"text": "Some text.", "meta": {"pile_set_name": "Pile-CC", "more": 1}},
        {"source": "Pile-CC", "metadata": {"more": 1}},
    ),
    "dolma": (
        {
            "id": "d1", "text": "Some text.", "source": "common-crawl", "added": "2023-01-01", "created": "2020-05-06",
            "metadata": {"url": "https://a.example/b", "n": [1, None, "x"]},
        },
        {
            "id": "d1", "url": "https://a.example/b", "date": "2020-05-06", "source": "common-crawl",
            "metadata": {"added": "2023-01-01", "n": [1, None, "x"]},
        },
    ),
    "fineweb": (
        {
            "text": "Some text.", "id": "<urn:uuid:1>", "dump": "CC-MAIN-2013-20", "url": "https://a.example/b",
            "date": "2013-05-18T05:48:54Z", "file_path": "s3://commoncrawl/x", "language": "en",
            "language_score": 0.5, "token_count": 3,
        },
        {
            "id": "<urn:uuid:1>", "url": "https://a.example/b", "date": "2013-05-18T05:48:54Z", "language": "en",
            "source": "fineweb",
            "metadata": {
                "dump": "CC-MAIN-2013-20", "file_path": "s3://commoncrawl/x", "language_score": 0.5, "token_count": 3,
            },
        },
    ),
}  # fmt: skip


def read(folder: Path, config: Read) -> tuple[list[Document], list[dict[str, Any]], dict[str, Any]]:
    """What the step makes of a corpus: documents, errors, counts."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics = run(config, {}, folder)
    return list(read_documents(folder / "documents")), list(read_jsonl(folder / "errors.jsonl")), metrics


def content(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "_work" not in path.parts]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("form", PUBLISHED)
@pytest.mark.parametrize("named", [True, False])
def test_published_columns_land_where_they_belong(form: str, named: bool, tmp_path: Path) -> None:
    row, expected = PUBLISHED[form]
    if form == "fineweb":
        path = tmp_path / "000_00000.parquet"
        parquet.write_table(pa.Table.from_pylist([row]), path)
    else:
        path = tmp_path / {"c4": "c4.json.gz", "pile": "00.jsonl.zst", "dolma": "v1-0000.json.gz"}[form]
        path.write_bytes(packed(json_lines([row]), path.suffix[1:]))
    config = Read(paths=(str(path),), format=form if named else "auto")  # type: ignore[arg-type]
    (document,), errors, metrics = read(tmp_path / "out", config)
    wanted = {"url": "", "date": "", "language": "", "metadata": {}} | expected
    if not named and form in ("c4", "fineweb"):
        wanted["source"] = "corpus"
    for name, value in wanted.items():
        assert getattr(document, name) == value, name
    assert document.text == "Some text." and document.id and not errors
    assert metrics["documents"] == 1 and metrics["bytes_text"] == len("Some text.")


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_gives_the_same_documents(packing: str, tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": f"Text {n} é."} for n in range(50)]
    (tmp_path / "in").mkdir()
    name = "a.jsonl" + (packing and f".{packing}")
    members = packed(json_lines(rows[:20]), packing) + packed(json_lines(rows[20:]), packing)
    (tmp_path / "in" / name).write_bytes(members)
    documents, errors, _ = read(tmp_path / "out", Read(paths=(str(tmp_path / "in"),)))
    assert [(document.id, document.text) for document in documents] == [(row["id"], row["text"]) for row in rows]
    assert not errors


def test_columns_of_other_names_are_taken_from_the_config(tmp_path: Path) -> None:
    row = {"body": {"plain": "T", "html": "<T>"}, "where": "u", "a.b": 7, "text": "not this"}
    (tmp_path / "a.jsonl").write_bytes(json_lines([row]))
    columns = Columns(text="body.plain", url="where", id="a.b")
    config = Read(paths=(str(tmp_path / "a.jsonl"),), columns=columns, source="mine", language="de")
    (document,), _, _ = read(tmp_path / "out", config)
    assert (document.id, document.text, document.url, document.source, document.language) == (
        "7",
        "T",
        "u",
        "mine",
        "de",
    )
    assert document.metadata["text"] == "not this"


def test_what_is_no_document_is_listed_with_its_place_and_the_rest_is_read(tmp_path: Path) -> None:
    bad = {
        b'{"text": "half': "broken JSON",
        b'["a"]': "not an object but list",
        b'{"text": 5}': "text is int",
        b'{"text": null}': "no 'text'",
        b'{"title": "x"}': "no 'text'",
        b'{"text": " \\n "}': "empty text",
        b'{"text": ' + b"[" * 200_000 + b"]" * 200_000 + b"}": "",
        b'{"text": "' + b"y" * 500_000 + b'"}': "more than 450000",
        b"null": "not an object but NoneType",
    }
    good = [
        b'{"text": "one"}',
        b'{"text": "lone \\ud800 half"}',
        b'{"text": "wrong \xff byte"}',
        b'\xef\xbb\xbf{"text": "marked"}',
        b'{"text": "pair \\ud83d\\ude00", "n": NaN}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*bad, b"", b"   ", *good]))
    config = Read(paths=(str(tmp_path / "a.jsonl"),), format="c4", max_line_bytes=450_000)
    documents, errors, metrics = read(tmp_path / "out", config)
    assert [document.text for document in documents] == [
        "one", "lone � half", "wrong � byte", "marked", "pair 😀",
    ]  # fmt: skip
    assert [row["place"] for row in errors] == [f"line {number}" for number in range(1, len(bad) + 1)]
    for row, expected in zip(errors, bad.values(), strict=True):
        assert expected in row["problem"] and row["file"] == str(tmp_path / "a.jsonl")
    assert metrics["errors"] == len(bad) == sum(metrics["problems"].values()) and metrics["problems"]["no 'text'"] == 2


def test_a_broken_row_group_costs_that_group_and_a_lost_footer_the_file(tmp_path: Path) -> None:
    rows = [{"text": hashlib.sha256(str(n).encode()).hexdigest() * 4} for n in range(40)]
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=10, compression="zstd")
    damaged = bytearray(path.read_bytes())
    start = parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    damaged[start : start + 300] = b"\xff" * 300
    path.write_bytes(damaged)
    (tmp_path / "b.parquet").write_bytes(damaged[:-20])
    documents, errors, _ = read(tmp_path / "out", Read(paths=(str(tmp_path / "*.parquet"),)))
    assert [document.text for document in documents] == [row["text"] for row in rows[:10] + rows[20:]]
    assert [(Path(row["file"]).name, row["place"]) for row in errors] == [
        ("a.parquet", "row 10"),
        ("b.parquet", "byte 0"),
    ]
    assert "10 rows lost" in errors[0]["problem"]


def test_parquet_dates_and_nested_columns_become_words(tmp_path: Path) -> None:
    when = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    row = {"text": "T", "date": when, "metadata": {"url": "u", "raw": b"\xff\x00", "day": when.date()}}
    parquet.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    (document,), _, _ = read(tmp_path / "out", Read(paths=(str(tmp_path),)))
    assert (document.date, document.url) == ("2024-01-02T03:04:05+00:00", "u")
    assert document.metadata == {"raw": "�\0", "day": "2024-01-02"}


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("file", ["one\ntwo\n\n\nthree é\n", "last"]),
        ("paragraph", ["one\ntwo", "three é", "last"]),
        ("line", ["one", "two", "three é", "last"]),
    ],
)
def test_text_files_by_file_paragraph_or_line(unit: Any, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_bytes("one\r\ntwo\r\n\r\n\nthree é\n".encode())
    (tmp_path / "in" / "deep" / "b.txt.xz").write_bytes(packed(b"last", "xz"))
    (tmp_path / "in" / "README.md").write_text("passed over")
    documents, errors, _ = read(tmp_path / "out", Read(paths=(str(tmp_path / "in"),), text_unit=unit))
    assert [document.text for document in documents] == expected and not errors


@pytest.mark.parametrize("size", [1, 300, 7000, 10**6])
def test_large_files_are_cut_without_losing_or_doubling_a_row(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"id": str(n), "text": f"Text {n} " + "é" * (n * 7 % 90)} for n in range(120)]
    (tmp_path / "a.jsonl").write_bytes(json_lines(rows))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet", row_group_size=7)
    monkeypatch.setattr(parts, "PIECE_BYTES", size if size > 1 else 997)
    monkeypatch.setattr(parts, "TOGETHER_BYTES", size)
    documents, errors, metrics = read(tmp_path / "out", Read(paths=(str(tmp_path / "*.*"),), shard_bytes=500))
    assert [document.id for document in documents] == [row["id"] for row in rows] * 2
    assert metrics["files"] == 2 and not errors
    assert len(shards(tmp_path / "out" / "documents")) > 10, "shards are bounded"


@pytest.mark.slow
def test_one_worker_and_two_give_the_same_bytes_in_the_order_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(7):
        rows = [{"text": f"File {number} row {n}"} for n in range(50 * (7 - number))]
        (folder / f"{number}.json.gz").write_bytes(packed(json_lines(rows), "gz"))
    monkeypatch.setattr(parts, "TOGETHER_BYTES", 1)  # parts are made in this process
    for workers in (1, 2):
        read(tmp_path / f"out-{workers}", Read(paths=(str(folder),), workers=workers, shard_bytes=1000))
    assert content(tmp_path / "out-1") == content(tmp_path / "out-2")
    texts = [document.text for document in read_documents(tmp_path / "out-2" / "documents")]
    assert texts == [f"File {number} row {n}" for number in range(7) for n in range(50 * (7 - number))]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "TOGETHER_BYTES", 1)
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_bytes(json_lines([{"text": f"{name}{n}"} for n in range(3)]))
    config = Read(paths=(str(tmp_path / "*.jsonl"),), shard_bytes=3)
    read(tmp_path / "unbroken", config)

    def stops(path: Path, *rest: Any) -> Any:
        if path.name == "b.jsonl":
            raise KeyboardInterrupt
        return rows_of(path, *rest)

    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(step, "rows_of", stops)
        run(config, {}, out)
    kept = {path: path.stat().st_mtime_ns for path in (out / "_work" / "read").glob("*.json")}
    (tmp_path / "aa.jsonl").write_bytes(json_lines([{"text": "came later"}]))
    run(config, {}, out)
    assert content(out) == content(tmp_path / "unbroken"), "and it reads the files it began with"
    assert len(kept) == 1 and all(path.stat().st_mtime_ns == when for path, when in kept.items()), "not redone"


def test_a_number_of_documents_of_each_file_is_enough_for_a_look(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_bytes(json_lines([{"text": f"{name}{n}"} for n in range(9)]))
    documents, _, _ = read(tmp_path / "out", Read(paths=(str(tmp_path / "*.jsonl"),), max_documents=2))
    assert [document.text for document in documents] == ["a0", "a1", "b0", "b1"]


def test_nothing_to_read_and_nothing_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to read"):
        run(Read(), {}, tmp_path)
    with pytest.raises(ValueError, match="no file matches"):
        run(Read(paths=(str(tmp_path / "absent"),)), {}, tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match="no JSON lines, Parquet or text files"):
        run(Read(paths=(str(tmp_path / "in"),)), {}, tmp_path / "a")
    (tmp_path / "in" / "a.jsonl").write_text('{"title": "x"}\n')
    with pytest.raises(ValueError, match=r"none of 1 rows gave .*a\.jsonl line 1: no 'text'"):
        run(Read(paths=(str(tmp_path / "in"),)), {}, tmp_path / "b")
    with pytest.raises(ValueError, match="either paths or dataset"):
        Read(paths=("a",), dataset="b")


def test_web_archives_are_sent_to_the_step_that_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a.warc.gz").write_bytes(packed(b"WARC/1.0\r\n", "gz"))
    with pytest.raises(ValueError, match=r"data\.extract"):
        run(Read(paths=(str(tmp_path),)), {}, tmp_path / "out")


@pytest.mark.slow
def test_a_dataset_by_name_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="pip install 'athanor[huggingface]'")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "corpus" / "data"
    folder.mkdir(parents=True)
    for number in range(2):
        rows = [{"text": f"Row {number} {n}", "url": f"http://h.example/{number}/{n}"} for n in range(3)]
        (folder / f"train-{number:05d}-of-00002.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    documents, errors, metrics = read(tmp_path / "out", Read(dataset=str(tmp_path / "corpus")))
    assert [document.text for document in documents] == [f"Row {number} {n}" for number in range(2) for n in range(3)]
    assert documents[0].url == "http://h.example/0/0" and not errors and metrics["files"] == 2
    with pytest.raises(ValueError, match=r"dataset .*absent"):
        run(Read(dataset=str(tmp_path / "absent")), {}, tmp_path / "none")

"""From WARC files to conversations: splits, leaks, small inputs, resume."""

import gzip
import pydoc
from pathlib import Path

import pytest

from athanor.core.artifact import read_jsonl
from athanor.core.documents import Document, write_shard
from athanor.posttrain import instructions
from athanor.posttrain.config import Instructions
from athanor.posttrain.splits import CONVERSATION_SPLITS, TRAINING_SPLITS, deal, normalised
from athanor.tokenizer.chat_template import check_messages

from .conftest import folder_bytes

MODULES = ["posixpath", "json", "textwrap", "shutil", "base64", "glob", "heapq", "calendar", "string", "csv"]


def write_warc(path: Path, pages: dict[str, str]) -> None:
    records = []
    for url, html in pages.items():
        body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html.encode()
        head = (
            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{len(records)}>\r\n"
            f"WARC-Target-URI: {url}\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
            f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        records.append(gzip.compress(head.encode() + body + b"\r\n\r\n"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(records))


def write_inputs(folder: Path, pages: dict[str, str], held_out: int = 1, filtered: int = 0) -> dict[str, Path]:
    """A crawl of `pages`, of which the last `filtered` are in no document and the `held_out` before are validation."""
    write_warc(folder / "crawl" / "site.warc.gz", pages)
    urls = list(pages)[: len(pages) - filtered]
    documents = [Document(id=url, url=url, text=url) for url in urls]
    for name, part in (("train", documents[: len(urls) - held_out]), ("validation", documents[len(urls) - held_out :])):
        (folder / "mixture" / name).mkdir(parents=True)
        write_shard(folder / "mixture" / name / "00000.parquet", part)
    return {"pages": folder / "crawl", "documents": folder / "mixture"}


def pydoc_pages() -> dict[str, str]:
    pages = {}
    for name in MODULES:
        module = __import__(name)
        pages[f"http://x/{name}.html"] = pydoc.html.page(f"module {name}", pydoc.html.document(module, name))
    return pages


def article(title: str, text: str) -> str:
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1><p>{text}</p></body></html>"


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, list[dict]]:
    inputs = write_inputs(tmp_path, pydoc_pages(), held_out=2)
    instructions.run(Instructions(workers=1), inputs, tmp_path / "out")
    return {name: list(read_jsonl(tmp_path / "out" / f"{name}.jsonl")) for name in CONVERSATION_SPLITS}


def test_rows_are_conversations_that_ask_for_the_name(rows):
    for found in rows.values():
        for row in found:
            check_messages(row["messages"])
            assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
            assert row["name"] in row["messages"][0]["content"]
            assert row["url"].startswith(row["page"])


def test_splits_share_no_page_no_name_and_no_answer(rows):
    assert all(rows.values())
    for key in (
        lambda row: row["page"],
        lambda row: normalised(row["name"]),
        lambda row: normalised(row["messages"][1]["content"]),
    ):
        seen: set[str] = set()
        for found in rows.values():
            keys = {key(row) for row in found}
            assert not keys & seen
            seen |= keys


def test_held_out_pages_feed_the_test_split_alone(rows):
    held_out = {f"http://x/{name}.html" for name in MODULES[-2:]}
    assert {row["page"] for row in rows["test"]} <= held_out
    assert not {row["page"] for name in TRAINING_SPLITS for row in rows[name]} & held_out


def test_an_answer_on_a_training_page_is_dropped_from_the_test(tmp_path):
    text = "Water boils at one hundred degrees at sea level."
    pages = {
        f"http://x/{i}": article(f"Page {i}", f"Here stands sentence number {word}.")
        for i, word in enumerate("abcdefg")
    }
    pages |= {
        "http://x/7": article("Boiling", text),
        "http://x/8": article("Kettle", text.upper()),
        "http://x/9": article("Seven", "Nothing like it stands on any other page."),
    }
    inputs = write_inputs(tmp_path, pages, held_out=2)
    metrics = instructions.run(Instructions(workers=1, min_characters=20), inputs, tmp_path / "out")
    assert metrics["dropped"]["answer also on a training page"] == 1
    assert [row["name"] for row in read_jsonl(tmp_path / "out" / "test.jsonl")] == ["Seven"]
    dropped = list(read_jsonl(tmp_path / "out" / "dropped.jsonl"))
    assert {"name": "Kettle", "reason": "answer also on a training page", "page": "http://x/8"} in dropped


def test_pages_the_filters_removed_are_skipped_or_trained_on_as_asked(tmp_path):
    pages = {
        f"http://x/{i}": article(f"Page {word}", f"Here stands the sentence number {word}.")
        for i, word in enumerate("abcdefgh")
    }
    inputs = write_inputs(tmp_path, pages, held_out=1, filtered=2)
    skipped = instructions.run(Instructions(workers=1, min_characters=20), inputs, tmp_path / "skip")
    assert (skipped["pages_outside_mixture"], sum(skipped["rows"].values())) == (2, 6)
    used = instructions.run(
        Instructions(workers=1, min_characters=20, pages_outside_mixture="train"), inputs, tmp_path / "train"
    )
    assert (used["pages_outside_mixture"], sum(used["rows"].values())) == (2, 8)


def test_a_limit_on_pages_takes_training_pages_by_hash_and_all_held_out_ones(tmp_path):
    pages = {
        f"http://x/{i}": article(f"Page {word}", f"Here stands the sentence number {word}.")
        for i, word in enumerate("abcdefghij")
    }
    inputs = write_inputs(tmp_path, pages, held_out=2)
    metrics = instructions.run(Instructions(workers=1, min_characters=20, max_pages=5), inputs, tmp_path / "out")
    assert (metrics["pages"], metrics["pages_read"]) == (10, 7)
    assert metrics["rows"]["test"] == 2
    assert sum(metrics["rows"].values()) == 7


def test_an_answer_for_many_names_is_boilerplate(tmp_path):
    terms = "".join(f"<dt>method {word}</dt><dd>Does what the base class does.</dd>" for word in "abcdefghijkl")
    pages = {
        f"http://x/{i}": article(f"Page {i}", f"Here stands the sentence number {word}.")
        for i, word in enumerate("abcde")
    }
    pages["http://x/9"] = f"<body><h1>All</h1><dl>{terms}</dl></body>"
    metrics = instructions.run(
        Instructions(workers=1, min_characters=20), write_inputs(tmp_path, pages), tmp_path / "out"
    )
    assert metrics["dropped"]["an answer given for many names"] == 12


def test_four_pairs_on_one_page_are_enough_and_the_split_by_pair_is_said(tmp_path):
    terms = "".join(
        f"<dt>kind {word}</dt><dd>The kind that is called {word}.</dd>" for word in ("one", "two", "three", "four")
    )
    pages = {"http://x/a": f"<body><dl>{terms}</dl></body>", "http://x/b": "<body><p>nothing</p></body>"}
    inputs = write_inputs(tmp_path, pages)
    metrics = instructions.run(Instructions(workers=1, min_characters=20), inputs, tmp_path / "out")
    assert metrics["split_by"] == "pair"
    assert metrics["rows"] == {"sft": 1, "preference": 1, "gold": 1, "test": 1}


def test_fewer_pairs_than_files_is_an_error_that_says_what_to_do(tmp_path):
    inputs = write_inputs(
        tmp_path, {"http://x/a": article("Alone", "The only sentence on this page."), "http://x/b": ""}
    )
    with pytest.raises(ValueError, match=r"only 1 pairs .* Crawl more pages"):
        instructions.run(Instructions(workers=1, min_characters=20), inputs, tmp_path / "out")


def test_workers_and_a_kill_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(instructions, "PART_BYTES", 4096)  # several parts
    inputs = write_inputs(tmp_path, pydoc_pages(), held_out=2)
    instructions.run(Instructions(workers=1), inputs, tmp_path / "one")
    done = tmp_path / "two" / "_work" / "pages"
    done.mkdir(parents=True)
    for path in sorted((tmp_path / "one" / "_work" / "pages").iterdir())[:2]:  # what a killed run left behind
        (done / path.name).write_bytes(path.read_bytes())
    instructions.run(Instructions(workers=2), inputs, tmp_path / "two")
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "two")


def test_real_broken_warc_files_stop_nothing(fidelity, tmp_path):
    files = sorted((fidelity / "data" / "warc").glob("*.warc*"))
    (tmp_path / "mixture" / "train").mkdir(parents=True)
    (tmp_path / "mixture" / "validation").mkdir()
    (tmp_path / "crawl").mkdir()
    for file in files:
        (tmp_path / "crawl" / file.name).write_bytes(file.read_bytes())
    inputs = {"pages": tmp_path / "crawl", "documents": tmp_path / "mixture"}
    config = Instructions(workers=1, min_characters=20, pages_outside_mixture="train")
    metrics = instructions.run(config, inputs, tmp_path / "out")
    assert metrics["pages"] >= 5
    assert all(count >= 1 for count in metrics["rows"].values())


def test_every_kind_has_twenty_phrasings_that_name_the_name():
    for kind, choices in instructions.phrasings().items():
        assert len(choices) == len(set(choices)) == 20, kind
        assert all("{name}" in choice for choice in choices)


def test_dealing_keeps_groups_together_and_reaches_the_shares():
    rows = [{"page": f"p{i // 5}", "name": f"n{i}"} for i in range(500)]
    dealt = deal(rows, {"a": 0.5, "b": 0.25, "c": 0.25}, seed=3, by="page")
    assert sum(map(len, dealt.values())) == 500
    assert [len(dealt[name]) for name in "abc"] == pytest.approx([250, 125, 125], abs=10)
    pages = [{row["page"] for row in split} for split in dealt.values()]
    assert not pages[0] & pages[1]
    assert not pages[0] & pages[2]

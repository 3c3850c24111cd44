"""Promises of data/dedup/substrings.py, passages.py, repeats.py, anchors.py and cuts.py together."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athanor.core.artifact import read_jsonl
from athanor.core.documents import Document, read_documents, read_removed, shard_name, write_shard
from athanor.data.dedup import passages, ranges, substrings
from athanor.data.dedup.anchors import anchors
from athanor.data.dedup.config import Substrings
from athanor.data.dedup.cuts import cut_text


def run(texts: Sequence[str], folder: Path, config: Substrings, per_shard: int = 3) -> dict[str, object]:
    for i in range(0, max(1, len(texts)), per_shard):
        shard = [Document(str(j), "", text) for j, text in enumerate(texts[i : i + per_shard], start=i)]
        write_shard(folder / "in" / shard_name(i // per_shard), shard)
    return substrings.run(config, {"documents": folder / "in"}, folder / "out")


def kept_texts(folder: Path) -> list[str]:
    return [document.text for document in read_documents(folder / "out" / "documents")]


def slow_repeats(texts: Sequence[bytes], length: int) -> list[list[bool]]:
    """For each byte whether a window around it occurred before, by looking at every earlier window."""
    earlier: set[bytes] = set()
    found = []
    for text in texts:
        repeated = [False] * len(text)
        windows = [text[i : i + length] for i in range(len(text) - length + 1)]
        for i, window in enumerate(windows):
            if window in earlier or window in windows[: max(0, i - length + 1)]:
                repeated[i : i + length] = [True] * length
        earlier.update(windows)
        found.append(repeated)
    return found


def slow_stretches(texts: Sequence[bytes], length: int) -> list[tuple[str, int, int]]:
    """Document, start and size of every unbroken stretch of repeated bytes."""
    stretches = []
    for name, repeated in enumerate(slow_repeats(texts, length)):
        start = 0
        for i, flag in enumerate([*repeated, False]):
            if not flag:
                if start < i:
                    stretches.append((str(name), start, i - start))
                start = i + 1
    return stretches


pieces = st.sampled_from(["a", "b", "ab", "aaaaaaaa", "abcabcab", "the quick ", "brown fox", "\n", "-" * 30, "x" * 9])
documents = st.lists(st.lists(st.one_of(pieces, st.text("abc \n", max_size=12)), max_size=8).map("".join), max_size=7)


@pytest.mark.slow
@settings(max_examples=30)
@given(documents, st.sampled_from([8, 9, 13]), st.sampled_from([1, 4, 1000]))
def test_what_is_cut_equals_a_slow_version(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], length: int, rows: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passages, "PASSAGES_PER_RANGE", rows)
        patch.setattr(passages, "BATCH_BYTES", 40)
        run(texts, folder, Substrings(min_bytes=length, min_words_left=0))
    cuts = list(read_jsonl(folder / "out" / "passages.jsonl"))
    found = [(cut["id"], cut["start"], cut["size_bytes"]) for cut in cuts]
    assert found == slow_stretches([text.encode() for text in texts], length)
    for cut in cuts:
        assert texts[int(cut["id"])][cut["start"] : cut["start"] + cut["size_bytes"]] == cut["text"]
    repeated = slow_repeats([text.encode() for text in texts], length)
    for text, left, flags in zip(texts, kept_texts(folder), repeated, strict=True):
        alone = [character for character, flag in zip(text, flags, strict=True) if not flag]
        assert "".join(left.split()) == "".join("".join(alone).split())  # blanks that keep words apart aside
        if not any(flags):
            assert left == text


def test_the_first_occurrence_stays_and_later_ones_go(tmp_path: Path) -> None:
    passage = "Permission is granted to copy and share this text with everyone who asks."
    texts = [
        f"First page. {passage} Its end.",
        f"{passage}\nSecond page.",
        f"Third page,\n{passage}\nand {passage} twice.",
    ]
    metrics = run(texts, tmp_path, Substrings(min_bytes=50, min_words_left=1), per_shard=1)
    assert kept_texts(tmp_path) == [texts[0], "\nSecond page.", "Third page,\nand twice."]
    cuts = list(read_jsonl(tmp_path / "out" / "passages.jsonl"))
    assert [cut["id"] for cut in cuts] == ["1", "2", "2"]
    assert all(passage in cut["text"] for cut in cuts)
    assert metrics["passages"] == 3
    assert metrics["passage_bytes"] == sum(cut["size_bytes"] for cut in cuts)
    notes = [document.metadata for document in read_documents(tmp_path / "out" / "documents")]
    assert notes[0] == {}
    assert notes[1] == {"repeated_bytes_removed": cuts[0]["size_bytes"]}


def test_of_a_long_line_of_dashes_the_first_bytes_stay(tmp_path: Path) -> None:
    run(["-" * 100_000 + " end"], tmp_path, Substrings(min_bytes=200, min_words_left=0))
    assert kept_texts(tmp_path) == ["-" * 200 + " end"]


def test_a_page_of_repeated_passages_alone_goes_with_a_reason(tmp_path: Path) -> None:
    words = " ".join(f"word{i}" for i in range(60))
    run([words, f"Own title. {words}"], tmp_path, Substrings())
    (gone,) = read_removed(tmp_path / "out" / "removed")
    assert (gone.removed_by, gone.reason) == ("substrings", "2 words left without repeated passages")
    assert gone.document.text == f"Own title. {words}"


@given(st.text(max_size=40), st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), max_size=5))
def test_cuts_leave_whole_characters(text: str, stretches: list[tuple[int, int]]) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    inside = [(first, min(size, first + length)) for first, length in stretches if first < size]
    start, end = (np.array(column, np.int64) for column in zip(*inside, strict=True)) if inside else np.empty((2, 0))
    left, cuts = cut_text(text, start.astype(np.int64), end.astype(np.int64))
    whole, at = "", 0
    raw = text.encode("utf-8", "surrogatepass")
    for cut in cuts:
        whole += raw[at : cut.start].decode("utf-8", "surrogatepass")
        assert raw[cut.start : cut.start + cut.size_bytes].decode("utf-8", "surrogatepass") == cut.text
        assert any(first <= cut.start and cut.start + cut.size_bytes <= size for first, _ in inside)
        at = cut.start + cut.size_bytes
    whole += raw[at:].decode("utf-8", "surrogatepass")
    assert "".join(whole.split()) == "".join(left.split())


@given(st.text("ab ", max_size=30), st.text("ab ", max_size=30), st.text("ab ", min_size=12, max_size=30))
def test_equal_windows_have_equal_anchors(before: str, other: str, shared: str) -> None:
    """What winnowing rests on: a window's anchor depends on its own bytes alone."""

    def anchor_of_windows(text: str) -> dict[str, int]:
        found = anchors(np.frombuffer(text.encode(), np.uint8), 12)
        assert [*found.first.tolist(), len(text) - 11][1:] == (found.last + 1).tolist()
        return {
            text[window : window + 12]: hash_
            for hash_, first, last, _ in zip(*(column.tolist() for column in found), strict=True)
            for window in range(first, last + 1)
        }

    first, second = anchor_of_windows(before + shared), anchor_of_windows(other + shared + before)
    assert all(first[window] == second[window] for window in first.keys() & second.keys())
    assert first.keys() & second.keys()


def pages() -> list[str]:
    generator = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(300)])
    common = [" ".join(generator.choice(words, 60)) for _ in range(6)]
    own = [" ".join(generator.choice(words, 80)) for _ in range(24)]
    return [f"{text}\n{common[i % 6]}\n{common[i % 4]}" for i, text in enumerate(own)]


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "_work" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow
def test_any_number_of_workers_and_ranges_gives_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(pages(), tmp_path, Substrings(), per_shard=8)
    expected = contents(tmp_path / "out")
    assert len(list(read_jsonl(tmp_path / "out" / "passages.jsonl"))) > 20
    inputs = {"documents": tmp_path / "in"}
    substrings.run(Substrings(workers=2), inputs, tmp_path / "workers")
    assert contents(tmp_path / "workers") == expected
    monkeypatch.setattr(ranges, "ROWS_PER_RANGE", 50)
    monkeypatch.setattr(passages, "PASSAGES_PER_RANGE", 20)
    substrings.run(Substrings(), inputs, tmp_path / "ranges")
    assert contents(tmp_path / "ranges") == expected
    assert len(list((tmp_path / "ranges" / "_work" / "passage_ranges").iterdir())) > 2


PASSES = ["count_anchors", "repeated_anchors", "leave_passages", "compare_passages", "cut_repeated"]


@pytest.mark.parametrize("survives", PASSES)
def test_a_run_killed_in_any_pass_ends_with_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survives: str
) -> None:
    monkeypatch.setattr(ranges, "ROWS_PER_RANGE", 200)
    monkeypatch.setattr(passages, "PASSAGES_PER_RANGE", 40)
    run(pages(), tmp_path, Substrings(), per_shard=12)
    whole = getattr(passages, survives)

    def dies_in_the_second(path: Path, **arguments: object) -> object:
        if path.stem == "00001":
            raise KeyboardInterrupt
        return whole(path, **arguments)

    inputs = {"documents": tmp_path / "in"}
    with monkeypatch.context() as patch:
        patch.setattr(passages, survives, dies_in_the_second)
        with pytest.raises(KeyboardInterrupt):
            substrings.run(Substrings(), inputs, tmp_path / "killed")
    substrings.run(Substrings(), inputs, tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "out")


def test_no_documents_and_short_ones_come_through(tmp_path: Path) -> None:
    assert run([], tmp_path / "none", Substrings())["documents_out"] == 0
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no document shards"):
        substrings.run(Substrings(), {"documents": tmp_path / "empty"}, tmp_path / "out")
    run(["", "short", "short"], tmp_path / "short", replace(Substrings(), min_bytes=8))
    assert kept_texts(tmp_path / "short") == ["", "short", "short"]


def test_lengths_that_are_words_are_refused() -> None:
    with pytest.raises(ValueError, match="min_bytes must be at least 8"):
        Substrings(min_bytes=3)

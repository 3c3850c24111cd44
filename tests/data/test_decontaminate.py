"""Promises of data/decontaminate.py, data/contamination.py and data/word_hashes.py."""

import csv
import gzip
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanor.core.artifact import read_jsonl
from athanor.core.config import from_dict
from athanor.core.documents import Document, read_documents, read_removed, shard_name, write_shard
from athanor.data import decontaminate
from athanor.data.benchmark_items import Item, read_items
from athanor.data.contamination import find_runs, index_of, matches
from athanor.data.decontaminate import Decontaminate
from athanor.data.word_hashes import run_hashes, words_of

QUESTION = (
    "A merchant sells seven lamps on Monday, twice as many on Tuesday and nine fewer than that on Wednesday. "
    "How many lamps does the merchant sell in these three days?"
)
SHORT = "Which king built the long canal at Corinth?"  # eight words
TINY = {"question": "Who wrote the ballad?", "choices": ["Burns", "Scott the elder", "Hogg"]}
PROSE = "The furnace keeps one even heat through the whole work, and whoever tends it sleeps beside it. " * 6


def document(number: int, text: str) -> Document:
    return Document(f"d{number}", f"https://a.org/{number}", text)


def run(folder: Path, config: Decontaminate, texts: Sequence[str], per_shard: int = 2) -> dict[str, Any]:
    documents = [document(i, text) for i, text in enumerate(texts)]
    for i in range(0, len(documents), per_shard):
        write_shard(folder / "in" / "documents" / shard_name(i // per_shard), documents[i : i + per_shard])
    return decontaminate.run(config, {"documents": folder / "in"}, folder / "out")


def benchmark(folder: Path, rows: Sequence[Any], name: str = "quiz/test.jsonl") -> tuple[str, ...]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return (str(path),)


def kept(folder: Path) -> list[str]:
    return [row.id for row in read_documents(folder / "out" / "documents")]


def plain_words(text: str) -> list[str]:
    """An independent split for ASCII text."""
    return re.findall(r"[a-z0-9]+", text.lower().replace("'", ""))


@given(st.text(alphabet="abcXYZ019' .,-\n_()", max_size=80))
def test_words_are_runs_of_letters_and_digits_in_lower_case(text: str) -> None:
    words = words_of(text)
    found = [text[a:b].lower().replace("'", "") for a, b in zip(words.begins, words.ends, strict=True)]
    assert found == plain_words(text)
    assert len(set(words.hashes.tolist())) == len(set(found))


@given(st.text(max_size=60))
def test_any_text_can_be_split_and_places_lie_in_it(text: str) -> None:
    words = words_of(text)
    assert all(0 <= a < b <= len(text) for a, b in zip(words.begins, words.ends, strict=True))
    assert all(b <= a for b, a in zip(words.ends, words.begins[1:], strict=False))


def test_case_accents_width_and_apostrophes_are_put_aside_and_scripts_without_spaces_split() -> None:
    def same(left: str, right: str) -> bool:
        return words_of(left).hashes.tolist() == words_of(right).hashes.tolist()

    assert same("Don’t “STOP” Ａ１ café", "don't stop: a1 cafe\u0301")
    assert not same("12 lamps", "13 lamps")
    assert not same("가각", "가나")
    assert len(words_of("我们在这里 ok").hashes) == 6


def test_runs_have_equal_hashes_exactly_where_words_are_equal() -> None:
    words = np.array([3, 5, 3, 5, 3, 7], np.uint64)
    hashes = run_hashes(words, 2).tolist()
    assert hashes[0] == hashes[2] and hashes[1] == hashes[3]
    assert len(set(hashes)) == 3
    assert len(run_hashes(words, 7)) == 0
    assert run_hashes(words, 1)[0] != run_hashes(np.array([3, 5], np.uint64), 2)[0]


def test_the_index_finds_what_a_slow_search_finds() -> None:
    """Random texts of few words, against a comparison of every run with every run."""
    draw = random.Random(3)
    vocabulary = [f"w{i}" for i in range(6)]  # any run of five has a word with a letter, so all are evidence
    items = [
        Item("b", i + 1, (" ".join(draw.choices(vocabulary, k=draw.randint(2, 14))),), (False,)) for i in range(60)
    ]
    index = index_of(items, ngram_words=5, min_words=3)
    for _ in range(60):
        text = draw.choices(vocabulary, k=draw.randint(0, 40))
        words = words_of(" ".join(text))
        found = {m.item: m.words_found for m in matches(index, words, find_runs(index, words), 0.0)}
        expected = {}
        for number, item in enumerate(items):
            wanted = item.texts[0].split()
            n = min(5, len(wanted))
            covered = {
                place
                for start in range(len(wanted) - n + 1)
                for at in range(len(text) - n + 1)
                if text[at : at + n] == wanted[start : start + n]
                for place in range(start, start + n)
            }
            if covered and len(wanted) >= 3:
                expected[number] = len(covered)
        assert found == expected


def test_a_planted_question_is_found_whatever_its_marks_and_case(tmp_path: Path) -> None:
    shouted = QUESTION.upper().replace(",", " --").replace("?", "")
    config = Decontaminate(benchmark(tmp_path, [{"question": QUESTION, "answer": "42"}, {"question": PROSE}]))
    metrics = run(tmp_path, config, ["plain text", f"alpha beside it.\n{shouted}\nThe furnace", "other text"])
    assert kept(tmp_path) == ["d0", "d2"]
    (removed,) = read_removed(tmp_path / "out" / "removed")
    assert (removed.removed_by, removed.reason) == ("decontaminate", "holds items of quiz/test")
    assert metrics["benchmarks"] == {"quiz/test": {"items": 2, "unsearchable": 0, "items_hit": 1, "documents_hit": 1}}
    assert metrics["removed"] == {"decontaminate: holds items of quiz/test": 1}
    (row,) = read_jsonl(tmp_path / "out" / "contaminated.jsonl")
    assert (row["id"], row["benchmark"], row["item"], row["overlap"]) == ("d1", "quiz/test", 1, 1.0)
    assert plain_words(row["passage"]) == plain_words(QUESTION)
    assert row["before"].strip().endswith("beside it.") and row["after"].strip().startswith("The furnace")


def test_a_paraphrase_and_twelve_words_in_a_row_are_no_evidence(tmp_path: Path) -> None:
    rewritten = "On Monday a shopkeeper sold seven lamps; Tuesday doubled that, Wednesday was nine below. Total lamps?"
    words = QUESTION.split()
    texts = [PROSE + rewritten, PROSE + " ".join(words[:12]), PROSE + " ".join(words[5:18])]
    metrics = run(tmp_path, Decontaminate(benchmark(tmp_path, [{"q": QUESTION}])), texts)
    assert kept(tmp_path) == ["d0", "d1"]
    assert metrics["documents_hit"] == 1


def test_short_questions_must_be_found_whole(tmp_path: Path) -> None:
    rows = [{"question": SHORT}, TINY, {"question": "Why?", "choices": ["a", "b"]}]
    texts = [
        f"{PROSE} {SHORT.lower()} {PROSE}",
        f"{PROSE} Which king built the long canal elsewhere? {PROSE}",
        f"{PROSE} Who wrote the ballad?\nA. Burns\nB. Scott the Elder\nC. Hogg\n{PROSE}",
        f"{PROSE} Who wrote the ballad? Burns, perhaps, and Scott the elder, or then Hogg",
        f"{PROSE} Who wrote the ballad? Nobody knows. Why? a b {PROSE}",
    ]
    metrics = run(tmp_path, Decontaminate(benchmark(tmp_path, rows)), texts)
    assert kept(tmp_path) == ["d1", "d4"]
    assert metrics["benchmarks"]["quiz/test"] == {"items": 3, "unsearchable": 1, "items_hit": 2, "documents_hit": 3}


def test_runs_of_numbers_and_repeated_words_are_no_evidence(tmp_path: Path) -> None:
    counting = " ".join(map(str, range(1, 30)))
    rows = [{"q": f"{QUESTION} {counting}"}, {"q": "ha " * 20}, {"q": counting}]
    metrics = run(tmp_path, Decontaminate(benchmark(tmp_path, rows)), [PROSE + counting, PROSE + "ha " * 30, QUESTION])
    assert kept(tmp_path) == ["d0", "d1"]
    assert metrics["benchmarks"]["quiz/test"] == {"items": 3, "unsearchable": 2, "items_hit": 1, "documents_hit": 1}


def test_overlap_asks_for_a_share_of_the_question(tmp_path: Path) -> None:
    """Eight words in a row of 25 are a third; sixteen are 64%."""
    words = QUESTION.split()
    texts = [PROSE + " ".join(words[:9]), PROSE + " ".join(words[:18]), PROSE + QUESTION]
    files = benchmark(tmp_path, [{"q": QUESTION}])
    run(tmp_path / "any", Decontaminate(files, ngram_words=8), texts)
    run(tmp_path / "half", Decontaminate(files, ngram_words=8, min_overlap=0.5), texts)
    assert kept(tmp_path / "any") == []
    assert kept(tmp_path / "half") == ["d0"]
    rows = list(read_jsonl(tmp_path / "half" / "out" / "contaminated.jsonl"))
    assert rows[0]["words"] == 18 and rows[0]["overlap"] == pytest.approx(18 / len(plain_words(QUESTION)), abs=1e-4)


def test_passages_are_cut_out_with_their_surroundings(tmp_path: Path) -> None:
    before, after = "alpha " * 100, "omega " * 100
    config = Decontaminate(benchmark(tmp_path, [{"q": QUESTION}]), action="remove_passage", passage_margin=60)
    texts = [f"{before}{QUESTION} {after}", QUESTION, PROSE, " ".join(f"{before}{QUESTION}" for _ in range(12))]
    metrics = run(tmp_path, config, texts)
    cleaned = {row.id: row for row in read_documents(tmp_path / "out" / "documents")}
    assert set(cleaned) == {"d0", "d2"}
    assert cleaned["d0"].text == ("alpha " * 90).strip() + "\n\n" + ("omega " * 90).strip()
    assert cleaned["d0"].metadata == {"passages_removed": 1}
    assert cleaned["d2"].text == PROSE
    reasons = {row.document.id: row.reason for row in read_removed(tmp_path / "out" / "removed")}
    assert reasons["d1"] == "too little left without passages of quiz/test"
    assert reasons["d3"] == "more than 10 passages of quiz/test"
    assert metrics["passages_removed"] == 1


def test_a_report_changes_nothing(tmp_path: Path) -> None:
    config = Decontaminate(benchmark(tmp_path, [{"q": QUESTION}]), action="report")
    metrics = run(tmp_path, config, [PROSE, QUESTION])
    assert kept(tmp_path) == ["d0", "d1"]
    assert metrics["documents_hit"] == 1 and metrics["removed"] == {}


def test_common_phrases_can_be_ignored_and_are_counted(tmp_path: Path) -> None:
    notice = "permission is hereby granted free of charge to any person obtaining a copy of this software"
    files = benchmark(tmp_path, [{"q": f"{notice} now"}, {"q": QUESTION}])
    texts = [*(f"{PROSE} {i} {notice}" for i in range(4)), QUESTION]
    metrics = run(tmp_path / "all", Decontaminate(files), texts)
    assert metrics["documents_out"] == 0
    metrics = run(tmp_path / "few", Decontaminate(files, max_documents=3), texts)
    assert kept(tmp_path / "few") == ["d0", "d1", "d2", "d3"]
    assert metrics["common_runs_ignored"]["runs"] == len(notice.split()) - 12
    assert metrics["common_runs_ignored"]["most_common"][0]["documents"] == 4


def test_questions_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    row = {"question": QUESTION, "choices": ["a", "b"], "gold": 1}
    expected = [(QUESTION, "a", "b")]
    lines = tmp_path / "a.jsonl.gz"
    lines.write_bytes(gzip.compress(json.dumps(row).encode()))
    whole = tmp_path / "a.json"
    whole.write_text(json.dumps({"data": [row]}))
    table = tmp_path / "a.parquet"
    parquet.write_table(pa.Table.from_pylist([row]), table)
    for path in (lines, whole, table):
        assert [item.texts for item in read_items(path)] == expected
        assert [item.texts for item in read_items(path, ["question"])] == [(QUESTION,)]
    sheet = tmp_path / "a.csv"
    with sheet.open("w", newline="") as file:
        csv.writer(file).writerows([["question", "A"], [QUESTION + "\nnext line", "b"]])
    assert [item.texts for item in read_items(sheet)] == [(QUESTION + "\nnext line", "b")]
    text = tmp_path / "a.txt"
    text.write_text(f"{QUESTION}\n\n{SHORT}\n")
    assert [item.texts for item in read_items(text, ["question"])] == [(QUESTION,), (SHORT,)]
    with pytest.raises(ValueError, match=r"no field questoin; found choices, gold, question"):
        list(read_items(whole, ["questoin"]))
    with pytest.raises(ValueError, match="not a file of questions"):
        list(read_items(tmp_path / "a.docx"))
    (tmp_path / "bad.jsonl").write_text('{"q": 1}\n{"q": ')
    with pytest.raises(ValueError, match=r"bad\.jsonl: line 2"):
        list(read_items(tmp_path / "bad.jsonl"))


def test_what_cannot_be_looked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no files of questions"):
        run(tmp_path / "none", Decontaminate(), [PROSE])
    with pytest.raises(ValueError, match="none of the 1 questions"):
        run(tmp_path / "short", Decontaminate(benchmark(tmp_path, [{"q": "Why?"}])), [PROSE])
    with pytest.raises(ValueError, match="did you mean 'remove_passage'"):
        from_dict(Decontaminate, {"action": "remove_passages"}, "recipe: decontaminate")
    with pytest.raises(ValueError, match="min_overlap"):
        Decontaminate(min_overlap=1.5)


@pytest.mark.slow
def test_workers_and_a_kill_in_the_middle_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [PROSE + str(i) + (QUESTION if i % 3 == 0 else "") for i in range(8)]
    files = benchmark(tmp_path, [{"q": QUESTION}])
    metrics = run(tmp_path / "whole", Decontaminate(files), texts)
    assert run(tmp_path / "two", Decontaminate(files, workers=2), texts) == metrics
    inner = decontaminate._write

    def dies(path: Path, **arguments: Any) -> Any:
        if path.stem == "00002":
            raise KeyboardInterrupt
        return inner(path, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(decontaminate, "_write", dies)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "killed", Decontaminate(files), texts)
    assert run(tmp_path / "killed", Decontaminate(files), texts) == metrics
    for name in ("two", "killed"):
        assert contents(tmp_path / name / "out") == contents(tmp_path / "whole" / "out")


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "_work" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow
def test_planted_questions_of_real_benchmarks_are_found_and_real_pages_stay(fidelity: Path, tmp_path: Path) -> None:
    """Questions of six benchmarks planted into real pages; the pages without one are left alone."""
    folder = fidelity / "evaluation"
    names = (
        "mmlu/mmlu_test.jsonl.gz",
        "gsm8k/test.jsonl.gz",
        "hellaswag/hellaswag_val_1000.jsonl.gz",
        "arc/arc_challenge.jsonl",
        "piqa/valid.jsonl",
        "boolq/boolq.jsonl.gz",
    )
    files = tuple(str(folder / name) for name in names)
    with gzip.open(fidelity / "data" / "oracle_dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        next(lines)
        pages = [json.loads(line)["text"] for line, _ in zip(lines, range(120), strict=False)]
    planted = []
    for number, name in enumerate(files):
        items = [item for item in read_items(Path(name)) if any(len(words_of(t).hashes) >= 13 for t in item.texts)]
        chosen = random.Random(number).sample(items, 5)
        planted += [(item, max(item.texts, key=len)) for item in chosen]
    texts = [*pages, *(f"{pages[i]}\n\n{text}\n\n{pages[i]}" for i, (_, text) in enumerate(planted))]
    run(tmp_path, Decontaminate(files, action="report"), texts, per_shard=50)
    rows = {(row["id"], row["benchmark"], row["item"]) for row in read_jsonl(tmp_path / "out" / "contaminated.jsonl")}
    for number, (item, _) in enumerate(planted):
        assert (f"d{len(pages) + number}", item.benchmark, item.number) in rows
    assert not {row for row in rows if int(row[0][1:]) < len(pages)}


def test_choices_are_looked_for_where_nothing_else_can_be_and_labels_are_put_aside(tmp_path: Path) -> None:
    rows = [
        {"options": ["The keeper gave the lamp to the sailor because the keeper", "short one"], "end": "was tired."},
        {"choices": ["a", "b"], "query": "Question: Which lamp of the seven burns longest of all?\nAnswer:"},
        {"choices": ["the tall one", "the small"], "query": "Question: Which lamp fell?\nAnswer:"},
    ]
    texts = [
        f"{PROSE} the keeper gave the lamp to the sailor because the keeper was tired. {PROSE}",
        f"{PROSE} Which lamp of the seven burns longest of all? Nobody knows. {PROSE}",
        f"{PROSE} A short one was tired. {PROSE}",
        f"{PROSE} Which lamp fell? (A) the tall one (B) the small {PROSE}",
    ]
    metrics = run(tmp_path, Decontaminate(benchmark(tmp_path, rows)), texts)
    assert kept(tmp_path) == ["d2"]
    assert metrics["benchmarks"]["quiz/test"] == {"items": 3, "unsearchable": 0, "items_hit": 3, "documents_hit": 3}

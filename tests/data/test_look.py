"""Promises of data/look: stats, sample, why, on the results of real steps run in a folder."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from athanor import cli
from athanor.core.artifact import Manifest, write_manifest
from athanor.core.config import to_dict
from athanor.core.documents import Document, Removed, write_removed_shard, write_shard
from athanor.data import decontaminate, mixture
from athanor.data import filter as filtering
from athanor.data.config import Filter
from athanor.data.decontaminate import Decontaminate
from athanor.data.filters.c4 import C4
from athanor.data.look.config import Sample
from athanor.data.look.measured import measured
from athanor.data.look.places import result_at, results_of_run
from athanor.data.look.sample import sampled, sampled_removed
from athanor.data.mixture import Mixture

SENTENCE = "The keeper of the furnace {} to the room with {} and looks at the fire that never goes out. "
QUESTION = (
    "Mister Pell and his seven apprentices measure twelve barrels of oil before noon and sell half of them; "
    "how many of the barrels are left for the evening market?"
)


def prose(number: int) -> str:
    """Distinct text that passes Gopher's and C4's rules."""
    verbs = ("goes", "comes", "walks", "returns", "climbs", "runs", "hurries", "creeps", "strolls", "steps")
    return "\n".join(SENTENCE.format(verb, f"{number} {verb[::-1]} lamps").strip() for verb in verbs)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps: filter, decontaminate, mixture."""
    root = tmp_path_factory.mktemp("runs") / "small"
    documents = [
        Document(f"kept{i:02d}", f"https://host{i % 3}.org/page{i}", prose(i), "web", metadata={"quality": i / 12})
        for i in range(12)
    ]
    mail = f"{prose(88)}\nWrite to ada@lovelace.org for more of these lamps.\nLOGIN"
    documents += [
        Document("short01", "https://a.org/short", prose(55).splitlines()[0]),
        Document("leak001", "https://a.org/leak", f"{prose(77)}\n{QUESTION}", metadata={"quality": 0.5}),
        Document("mail001", "https://a.org/mail", mail, metadata={"quality": 0.5}),
    ]
    write_shard(root / "in" / "documents" / "00000.parquet", documents[:8])
    write_shard(root / "in" / "documents" / "00001.parquet", documents[8:])
    (root / "quiz").mkdir()
    (root / "quiz" / "test.jsonl").write_text(json.dumps({"question": QUESTION}))
    rules = Filter(c4=C4(), gopher_repetition=None)
    step(root, "filter", "data.filter", rules, filtering.run, {"documents": "in"})
    questions = Decontaminate((str(root / "quiz" / "test.jsonl"),))
    step(root, "decontaminate", "data.decontaminate", questions, decontaminate.run, {"documents": "filter"})
    step(root, "mixture", "data.mixture", Mixture(epochs={"web": 2.0}), mixture.run, {"documents": "decontaminate"})
    return root


def step(root: Path, name: str, kind: str, config: Any, function: Any, inputs: dict[str, str]) -> None:
    metrics = function(config, {key: root / folder for key, folder in inputs.items()}, root / name)
    number = len(list(root.glob("*/manifest.json")))
    empty: Any = {key: {} for key in ("code", "libraries", "device")}
    lists: Any = {"files": [], "argv": []}
    ended = f"2026-11-26T00:00:{number:02d}Z"
    manifest = Manifest(
        name=name, kind=kind, version=1, fingerprint=name, config=to_dict(config), runtime={"workers": 1},
        inputs=dict(inputs), metrics=metrics, seed=0, started="", ended=ended, seconds=1.0, peak_memory_bytes=1,
        input_folders=inputs, **empty, **lists,
    )  # fmt: skip
    write_manifest(root / name, manifest)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_why_follows_a_kept_document_with_its_text_before_and_after(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = said(capsys, "data", "why", "https://a.org/mail", "--run", str(run))
    assert told.startswith("mail001  https://a.org/mail")
    steps = [line.split(" ")[0] for line in told.splitlines() if "(data." in line]
    assert steps == ["filter", "decontaminate", "mixture"]
    told_json = json.loads(said(capsys, "data", "why", "mail001", "--run", str(run), "--json", "--no-values"))
    rules = {rule["rule"]: rule for rule in told_json["steps"][0]["rules"]}
    assert "LOGIN" in rules["c4"]["before"] and "LOGIN" not in rules["c4"]["after"]
    assert "ada@lovelace.org" in rules["pii"]["before"] and "ada@lovelace.org" not in rules["pii"]["after"]


def test_why_shows_differences_and_values(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "data", "why", "mail001", "--folders", str(run / "in"), str(run / "filter"))
    assert re.search(r"c4: passed \(.*\)\n", told)
    assert "    -LOGIN" in told
    assert "    -Write to ada@lovelace.org for more of these lamps." in told
    assert re.search(r"min_words +\d+ >= 50", told)
    assert "notes language: " in told


def test_why_says_what_removed_a_document_and_by_how_much(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "data", "why", "short", "--folders", str(run / "in"), str(run / "filter"))
    assert "REMOVED by gopher_quality: fewer than 50 words" in told
    assert re.search(r"min_words +22 < 50 +<- out of bounds", told)
    told = said(capsys, "data", "why", "leak001", "--run", str(run), "--no-values")
    assert "REMOVED by decontaminate: holds items of quiz/test" in told
    assert "holds item 1 of quiz/test (100% of it): 'Mister Pell" in told
    assert "mixture (" not in told


def test_why_names_the_nearest_or_all_that_are_meant(run: Path) -> None:
    from athanor.data.look.trace import resolved

    results = results_of_run(run)
    assert resolved(results, "http://www.a.org/mail")[0] == "mail001"
    with pytest.raises(ValueError, match=r"no document 'https://a.org/mial' .*nearest is https://a\.org/mail"):
        resolved(results, "https://a.org/mial")
    with pytest.raises(ValueError, match=r"12 documents have ids that begin with 'kept': kept00 https://host0"):
        resolved(results, "kept")
    assert resolved(results, "kept07")[1] == "https://host1.org/page7"


def test_passes_and_held_out_pages_are_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [
        said(capsys, "data", "why", f"kept{i:02d}", "--folders", str(run / "mixture")).splitlines()[3]
        for i in range(12)
    ]
    assert "  held out for validation" in outcomes
    assert any(outcome.startswith("  trained on 2 times") for outcome in outcomes)
    assert any("in the high-quality subset too" in outcome for outcome in outcomes)


def test_measured_values_are_those_of_the_text() -> None:
    """Sixty words of four letters, ten of them hash signs apart; one of three lines begins with a bullet."""
    text = "- " + " ".join(["with"] * 20) + "\n" + " ".join(["that"] * 20) + "\n" + " ".join(["have"] * 20) + " ####"
    values = {row.bound: row for row in measured(Document("a", "", text), "gopher_quality", Filter())}
    assert values["min_words"].value == values["max_words"].value == 60
    assert values["min_mean_word_length"].value == pytest.approx(4.0, abs=1e-4)
    assert values["max_bullet_lines"].value == pytest.approx(1 / 3, abs=1e-6)
    assert values["min_stop_words"].value == 3
    assert (
        values["min_words"].passed
        and not measured(Document("a", "", "with that"), "gopher_quality", Filter())[0].passed
    )
    assert measured(Document("a", "https://a.org", text), "url", Filter()) == []


def test_sampling_gives_every_row_the_same_chance() -> None:
    counts = Counter(row for seed in range(4000) for row in sampled(range(10), 3, seed))
    assert sum(counts.values()) == 12_000
    assert all(abs(count - 1200) < 150 for count in counts.values())  # five standard deviations
    assert sampled(range(3), 5, 0) == [0, 1, 2]
    assert sampled(range(100), 5, 1) == sampled(range(100), 5, 1) != sampled(range(100), 5, 2)


def test_samples_are_of_the_rule_and_reason_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Removed(Document(str(i), "", f"text {i}"), "c4" if i % 2 else "url", f"reason {i % 3}") for i in range(40)]
    write_removed_shard(tmp_path / "removed" / "00000.parquet", rows)
    result = result_at(tmp_path)
    chosen = sampled_removed(result, Sample(tmp_path, removed_by="c4", reason="REASON 1", count=50))
    assert {row.document.id for row in chosen} == {str(i) for i in range(40) if i % 2 and i % 3 == 1}
    told = said(capsys, "data", "sample", str(tmp_path), "--removed-by", "c4", "--count", "2", "--json")
    assert [json.loads(line)["removed_by"] for line in told.splitlines()] == ["c4", "c4"]
    with pytest.raises(ValueError, match=r"removed by 'c5'; known: c4, url"):
        sampled_removed(result, Sample(tmp_path, removed_by="c5"))
    with pytest.raises(ValueError, match=r"for 'nothing'; rules that removed some: url \(20\), c4 \(20\)"):
        sampled_removed(result, Sample(tmp_path, reason="nothing"))
    with pytest.raises(ValueError, match="no such folder"):
        result_at(tmp_path / "elsewhere")


def test_stats_count_what_there_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = json.loads(said(capsys, "data", "stats", str(run / "filter"), "--json"))
    assert figures["parts"]["documents"]["documents"] == 14
    assert figures["removed"]["reasons"] == {"gopher_quality: fewer than 50 words": 1}
    assert sum(figures["parts"]["documents"]["length_histogram"]["counts"]) == 14
    table = said(capsys, "data", "stats", str(run / "filter"), str(run / "mixture"))
    assert "documents: 14 documents" in table and "removed: 1 documents (6.7%)" in table
    assert "tokens (estimated at 4 bytes per token)" in table
    assert "host0.org" in table


def test_files_of_others_are_read_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FineWeb's columns: no source, no metadata, a token count and a score."""
    rows = [
        {"text": "some text", "id": str(i), "url": "https://a.org/x", "token_count": 3, "language": "en"}
        for i in range(3)
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "000_00000.parquet")
    figures = json.loads(said(capsys, "data", "stats", str(tmp_path), "--json"))
    assert figures["parts"]["documents"]["tokens_noted"] == {"documents": 3, "tokens": 9}
    parquet.write_table(pa.Table.from_pylist([{"body": "x"}]), tmp_path / "000_00000.parquet")
    assert cli.main(["data", "stats", str(tmp_path)]) == 2
    assert "no column text; found body" in capsys.readouterr().err

"""Promises of data/harmful.py and data/lexicon.py."""

import gzip
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanor.core.documents import Document, Removed, read_documents, read_removed, shard_name, write_shard
from athanor.data.config import Filter
from athanor.data.harmful import HarmfulRule, judge, scorer
from athanor.data.harmful_training import Harmful, run
from athanor.data.lexicon import read_lexicon
from athanor.data.rules import judge as judge_document
from athanor.data.rules import rules_of

ENTRIES = {"red": "warm", "red hot": "hot", "hot red iron": "hot", "blue": "cold"}
WEIGHTS = {"red": 0.5, "red hot": 2.0, "hot red iron": 3.0, "blue": 1.0}


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lexicon") / "colours.txt"
    lines = [f"{category} {WEIGHTS[words]} {words}" for words, category in ENTRIES.items()]
    path.write_text("# colours\n\n" + "\n".join(lines) + "  # the sky\n", encoding="utf-8")
    return path


def counted_slowly(words: Sequence[str]) -> dict[str, tuple[float, int]]:
    """The longest entry at each word, by comparing all of them."""
    found = []
    for i in range(len(words)):
        here = [entry for entry in ENTRIES if words[i : i + len(entry.split())] == entry.split()]
        found += [max(here, key=len)] if here else []
    by_category = {category: [each for each in found if ENTRIES[each] == category] for category in ENTRIES.values()}
    return {
        category: (100 * sum(WEIGHTS[each] for each in entries) / len(words), len(set(entries)))
        for category, entries in by_category.items()
        if entries
    }


@given(st.lists(st.sampled_from(["red", "hot", "iron", "blue", "grey", "blu", "redhot"]), max_size=30))
def test_the_longest_entry_at_each_word_counts(lexicon: Path, words: list[str]) -> None:
    found = read_lexicon((lexicon,)).found(" ".join(words))
    expected = counted_slowly(words)
    assert found.keys() == expected.keys()
    for category, (density, number) in expected.items():
        assert found[category] == (pytest.approx(density), number)


def test_case_accents_and_punctuation_do_not_matter_but_words_are_whole(lexicon: Path) -> None:
    read = read_lexicon((lexicon,))
    assert read.found("RÉD-hot, indeed!") == {"hot": (pytest.approx(200 / 3), 1)}
    assert read.found("redhot reds bluer") == {}


@pytest.mark.parametrize("line", ["sexual porn", "sexual much porn", "sexual 0 porn", "sexual 1 ---", "sexual"])
def test_a_line_that_is_no_entry_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(f"hate 1 word\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"list\.txt: line 2: expected a category, a weight"):
        read_lexicon((tmp_path / "list.txt",))


def test_the_reason_names_category_score_and_bound(lexicon: Path) -> None:
    rule = HarmfulRule(builtin=False, lexicons=(str(lexicon),), max_lexicon=10, min_entries=2)
    harm = scorer(rule)("red hot and hot red iron " + "word " * 4)  # 10 words
    assert harm.scores == {"hot": 50.0, "warm": 5.0}
    assert judge(harm, rule).reason == "hot score 50, above 10"


@pytest.mark.parametrize(
    "kinder", [{"max_lexicon": 60}, {"min_entries": 3}, {"categories": ("warm", "cold")}, {"categories": ()}]
)
def test_each_bound_can_be_kinder(lexicon: Path, kinder: dict[str, object]) -> None:
    rule = HarmfulRule(**{"builtin": False, "lexicons": (str(lexicon),), "max_lexicon": 10, "min_entries": 2, **kinder})  # type: ignore[arg-type]
    assert judge(scorer(rule)("red hot and hot red iron " + "word " * 4), rule).kept


def test_an_unknown_category_is_named(lexicon: Path) -> None:
    with pytest.raises(ValueError, match="green: no such category in the lexicons; found cold, hot, warm"):
        scorer(HarmfulRule(builtin=False, lexicons=(str(lexicon),), categories=("green",)))


def test_the_rule_notes_its_scores_in_what_it_keeps_and_removes() -> None:
    rules = rules_of(
        Filter(
            url=None,
            language=None,
            harmful=HarmfulRule(),
            gopher_repetition=None,
            gopher_quality=None,
            c4=None,
            pii=None,
        )
    )
    kept = judge_document(Document("a", "", "The committee discussed pornography law all day."), rules, {})
    assert isinstance(kept, Document)
    assert kept.metadata["harmful"] == {"sexual": pytest.approx(60 / 7, abs=1e-4)}
    gone = judge_document(Document("b", "", "Free porn, hentai, milfs and camgirls here"), rules, {})
    assert isinstance(gone, Removed)
    assert (gone.removed_by, gone.reason) == ("harmful", "sexual score 60, above 1")
    assert gone.document.metadata["harmful"]["sexual"] > 1


def test_real_news_and_documentation_stay(fidelity: Path) -> None:
    """The lexicon alone removes under half a percent of real pages, and says why."""
    with gzip.open(fidelity / "data" / "oracle_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        next(file)
        texts = [text for line in file if (text := json.loads(line)["text"])]
    rule = HarmfulRule()
    score = scorer(rule)
    gone = [text for text in texts if not judge(score(text), rule).kept]
    assert len(gone) <= 0.005 * len(texts)


def phrase(is_harmful: bool, seed: int) -> str:
    generator = random.Random(f"{is_harmful}{seed}")
    telling = ["venom", "dagger", "ambush"] if is_harmful else ["teapot", "meadow", "violin"]
    return " ".join(generator.choice(telling if generator.random() < 0.2 else ["the", "of", "and"]) for _ in range(40))


@pytest.fixture
def labelled(tmp_path: Path) -> str:
    path = tmp_path / "examples.jsonl.gz"
    rows = (
        {"text": phrase(i % 2 == 0, i), "label": ("harmful", "harmless")[i % 2], "group": f"g{i // 4}"}
        for i in range(120)
    )
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return str(path)


def folder_of(folder: Path, texts: Sequence[str], name: str = "d") -> Path:
    rows = [Document(f"{name}{i}", f"https://{name}{i % 9}.org/{i}", text) for i, text in enumerate(texts)]
    write_shard(folder / "documents" / shard_name(0), rows)
    return folder


def test_a_classifier_is_trained_on_examples_and_scores_documents(tmp_path: Path, labelled: str) -> None:
    texts = [phrase(i < 5, 900 + i) for i in range(10)]
    inputs = {"documents": folder_of(tmp_path / "in", texts)}
    metrics = run(Harmful((labelled,), max_model=0.6, bucket_bits=12), inputs, tmp_path / "out")
    assert metrics["examples"] == {"harmful": 60, "harmless": 60}
    assert metrics["held_out_groups"] == 30
    assert metrics["auc"] > 0.95
    assert metrics["removed_of_harmful"] > 0.8 > 0.1 > metrics["removed_of_harmless"]
    kept = list(read_documents(tmp_path / "out" / "documents"))
    gone = list(read_removed(tmp_path / "out" / "removed"))
    assert [row.id for row in kept] == [f"d{i}" for i in range(5, 10)]
    assert all(row.metadata["harmful"]["model"] <= 0.6 for row in kept)
    assert all(re.fullmatch(r"model score 0\.\d+, above 0\.6", row.reason) for row in gone)
    assert metrics["removed"] == {"harmful: above the bound": 5}
    reused = run(Harmful(max_model=0.6), {**inputs, "model": tmp_path / "out"}, tmp_path / "again")
    assert reused["documents_out"] == 5
    with pytest.raises(ValueError, match="already trained; leave out examples"):
        run(Harmful((labelled,)), {**inputs, "model": tmp_path / "out"}, tmp_path / "third")


def test_the_trained_model_is_a_rule_of_the_filter(tmp_path: Path, labelled: str) -> None:
    run(Harmful((labelled,), bucket_bits=12), {}, tmp_path / "out")
    rule = HarmfulRule(model=(str(tmp_path / "out" / "harmful" / "model.safetensors"),), max_model=0.6)
    score = scorer(rule)
    harm = score(phrase(True, 777))
    assert judge(harm, rule).reason.startswith("model score 0.")
    assert judge(score(phrase(False, 777)), rule).kept


def test_folders_of_documents_are_examples_held_out_by_host(tmp_path: Path) -> None:
    inputs = {
        "harmful": folder_of(tmp_path / "bad", [phrase(True, i) for i in range(40)], "bad"),
        "harmless": folder_of(tmp_path / "good", [phrase(False, i) for i in range(40)], "good"),
    }
    metrics = run(Harmful(bucket_bits=12), inputs, tmp_path / "out")
    assert metrics["held_out_groups"] == 18
    assert metrics["auc"] > 0.95


@pytest.mark.parametrize("line", ['{"text": "a"}', '{"label": "harmful"}', '{"text": "a", "label": "bad"}', "[1]", "{"])
def test_a_line_that_is_no_example_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "examples.jsonl"
    path.write_text('{"text": "a", "label": 1}\n' + line)
    with pytest.raises(ValueError, match=r"examples\.jsonl: line 2: expected an object with 'text' and a 'label'"):
        run(Harmful((str(path),)), {}, tmp_path / "out")


def test_examples_of_one_label_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "examples.jsonl"
    path.write_text('{"text": "a", "label": true}\n')
    with pytest.raises(ValueError, match="found 1 harmful of 1"):
        run(Harmful((str(path),)), {}, tmp_path / "out")

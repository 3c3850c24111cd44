"""The best answers of a model as data to fine-tune on."""

from dataclasses import replace
from pathlib import Path

import pytest

from athanor.core.artifact import read_jsonl
from athanor.posttrain import rejection_sampling
from athanor.posttrain.config import RejectionSampling, Reward
from athanor.posttrain.messages import read_conversations, read_pairs
from athanor.posttrain.ranked_pairs import ranked_pairs
from athanor.posttrain.rejection_sampling import best
from athanor.tokenizer.tokenizer import Tokenizer

CONFIG = RejectionSampling(num_answers=3, max_new_tokens=6, max_prompts=5, batch_size=2, only_ended=False)


def answer(text: str, score: float, ended: bool = True) -> dict[str, object]:
    return {"text": text, "score": score, "ended": ended, "tokens": 1}


def test_the_best_that_are_good_enough_and_ended_are_kept_once():
    answers = [answer("a", 1.0), answer("b", 3.0, ended=False), answer("c", 2.0), answer("c", 2.0), answer("d", 2.0)]
    config = RejectionSampling(num_answers=5, keep=3)
    assert [a["text"] for a in best(answers, config)] == ["c", "d", "a"]
    assert [a["text"] for a in best(answers, replace(config, only_ended=False, keep=1))] == ["b"]
    assert best(answers, replace(config, min_score=4.0)) == []


def test_the_kept_answers_are_conversations_for_sft(
    base: Path, conversations: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "longest.py").write_text("def length(prompts, answers, rows):\n    return [len(a) for a in answers]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = replace(CONFIG, reward=Reward(kind="function", function="longest:length"))
    metrics = rejection_sampling.run(config, {"model": base, "conversations": conversations}, tmp_path / "out")
    rows = list(read_jsonl(tmp_path / "out" / "sft.jsonl"))
    answers = list(read_jsonl(tmp_path / "out" / "answers.jsonl"))
    assert len(answers) == 15
    assert metrics["kept_score"] >= metrics["mean_score"]
    for row in rows:
        of_prompt = [a["score"] for a in answers if a["prompt"] == row["messages"][:-1]]
        assert row["score"] == max(of_prompt)
    assert len(read_conversations(tmp_path / "out" / "sft.jsonl", tokenizer, 128)[0]) == len(rows)
    assert (tmp_path / "out" / "test.jsonl").exists()
    pairs = [pair for split in ("proxy", "held_out") for pair in read_jsonl(tmp_path / "out" / f"{split}.jsonl")]
    assert len(pairs) == sum(metrics["pairs"].values()) > 0
    assert all(len(pair["chosen"]) - len(pair["rejected"]) == pair["margin"] > 0 for pair in pairs)
    assert len(read_pairs(tmp_path / "out" / "proxy.jsonl", tokenizer, 128)[0]) == metrics["pairs"]["proxy"]
    again = rejection_sampling.run(config, {"model": base, "conversations": conversations}, tmp_path / "out")
    assert again == metrics  # from what is on disk


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="keep is 4"):
        RejectionSampling(num_answers=3, keep=4)
    with pytest.raises(ValueError, match="all answers would be the same"):
        RejectionSampling(temperature=0.0)


def test_the_best_and_the_worst_answer_to_a_prompt_are_a_pair():
    def asked(prompt: str, *answers: dict[str, object]) -> list[dict[str, object]]:
        return [{**one, "prompt": [{"role": "user", "content": prompt}]} for one in answers]

    answered = [
        asked("a", answer("x", 1.0), answer("best", 3.0), answer("worst", -1.0, ended=False), answer("", -9.0)),
        asked("alike", answer("x", 1.0), answer("y", 1.0)),
        asked("the same", answer("Yes.", 1.0), answer("yes", 2.0)),
        asked("nothing", answer(" ", 1.0)),
    ]
    pairs = ranked_pairs(answered, 0.0, seed=0)
    (pair,) = pairs["proxy"]
    assert (pair["chosen"], pair["rejected"], pair["margin"], pair["rejected_ended"]) == ("best", "worst", 4.0, False)
    assert pairs["held_out"] == []


def test_pairs_of_one_prompt_are_in_one_split_and_about_the_share_asked_for_is_held_out():
    answered = [
        [
            {**answer(text, score), "prompt": [{"role": "user", "content": f"Question {n % 200}"}]}
            for text, score in (("good", 1.0), ("bad", 0.0))
        ]
        for n in range(400)
    ]
    pairs = ranked_pairs(answered, 0.25, seed=0)
    assert {p["page"] for p in pairs["proxy"]}.isdisjoint(p["page"] for p in pairs["held_out"])
    assert 60 <= len(pairs["held_out"]) <= 140 and len(pairs["proxy"]) + len(pairs["held_out"]) == 400

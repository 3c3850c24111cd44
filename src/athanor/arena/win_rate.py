"""Win rates of models on held-out prompts, judged by a reward model.

In: model folders under any names, a reward model as judge, and conversations with test.jsonl. Every model answers
the same prompts; the judge scores each answer at its last token, and the difference of two scores through the
sigmoid is its preference (Bradley-Terry). Out: win_rates.jsonl, one row per model and baseline with the win rate
raw and length-controlled, and battles.jsonl with every answer, length and score.
What a reward model prefers is not what people prefer: the judge is named in every row.
Left out: prompt difficulty and shrinkage in the length control, which need many models and many prompts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.arena.config import WinRate
from athanor.arena.length_control import length_controlled
from athanor.arena.preferences import win_rate
from athanor.core.artifact import WORK, read_json, read_jsonl, write_json, write_jsonl
from athanor.core.config import suggestion
from athanor.core.console import progress
from athanor.evaluation.answers import Answer, Conversation, answer, documented_answer, load, page_of, question, spread

JUDGE = "gold_reward_model"
CONVERSATIONS = "conversations"
DOCUMENTED = "documented"
JUDGED_TOKENS = 4096  # in one forward pass
NORMAL_95 = 1.959963984540054
LENGTH_CONTROL = (
    "the logistic model of AlpacaEval 2 with the terms length and model; no prompt difficulty, no shrinkage"
)
NO_SHRINKAGE = 1e4  # two terms need none, and on few prompts cross-validation would shrink every rate to one half

Floats = NDArray[np.float64]


def run(config: WinRate, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Judge every input that is a model against the baselines; returns the metrics."""
    models = [name for name in inputs if name not in (JUDGE, CONVERSATIONS)]
    for baseline in config.baselines:
        if baseline not in (*models, DOCUMENTED):
            raise ValueError(f"baseline {baseline!r} is not an input; {suggestion(baseline, [*models, DOCUMENTED])}")
    path = inputs[CONVERSATIONS] / "test.jsonl"
    rows = spread(list(read_jsonl(path)), config.num_prompts)
    if not rows:
        raise ValueError(f"{path}: no held-out prompt to answer")

    answers = {DOCUMENTED: [Answer(documented_answer(row), ended=True) for row in rows]}
    with progress("models", len(models), "models") as shown:
        for name in models:
            shown.note(name)
            kept = out / WORK / f"{name}.json"
            if not kept.exists():
                write_json(kept, _answers(config, inputs[name], rows))
            answers[name] = [Answer(**given) for given in read_json(kept)]
            shown.advance()
    scores = {name: _scores(config, inputs[JUDGE], rows, given) for name, given in answers.items()}
    lengths = {name: np.array([len(a.text) for a in given], np.float64) for name, given in answers.items()}
    pages = [page_of(row, i) for i, row in enumerate(rows)]

    table = [
        _head_to_head(config, name, baseline, scores, lengths, pages)
        for baseline in config.baselines
        for name in (*models, DOCUMENTED)
        if name != baseline
    ]
    write_jsonl(out / "win_rates.jsonl", table)
    write_jsonl(out / "battles.jsonl", _battles(rows, answers, scores))
    return {
        "judge": f"{JUDGE}: a reward model trained on this run's own preferences, not people",
        "win_rates": table,
        "ends": {name: float(np.mean([a.ended for a in given])) for name, given in answers.items()},
        "prompts": len(rows),
        "pages": len(set(pages)),
        "length_control": LENGTH_CONTROL,
        "interval": "95%, pages resampled",
    }


def _head_to_head(
    config: WinRate,
    model: str,
    baseline: str,
    scores: Mapping[str, Floats],
    lengths: Mapping[str, Floats],
    pages: Sequence[str],
) -> dict[str, Any]:
    """One row of the table: `model` against `baseline`."""
    preference = 1 / (1 + np.exp(-np.clip(scores[model] - scores[baseline], -700, 700)))
    raw = win_rate(preference)
    controlled = length_controlled(preference, lengths[baseline], lengths[model], penalty=NO_SHRINKAGE)
    raw_samples, controlled_samples = [], []
    random = np.random.default_rng(config.seed)
    members = [np.flatnonzero([page == wanted for page in pages]) for wanted in dict.fromkeys(pages)]
    for _ in range(config.resamples):
        drawn = np.concatenate([members[i] for i in random.integers(0, len(members), len(members))])
        raw_samples.append(preference[drawn].mean())
        again = length_controlled(
            preference[drawn], lengths[baseline][drawn], lengths[model][drawn], penalty=NO_SHRINKAGE
        )
        controlled_samples.append(again.win_rate)
    return {
        "model": model,
        "baseline": baseline,
        "judge": JUDGE,
        "win_rate": raw.win_rate,
        "interval": _interval(raw_samples, raw.win_rate, raw.standard_error),
        "standard_error": raw.standard_error,
        "wins": raw.n_wins,
        "losses": raw.n_wins_base,
        "draws": raw.n_draws,
        "length_controlled_win_rate": controlled.win_rate,
        "length_controlled_interval": _interval(controlled_samples, controlled.win_rate, controlled.standard_error),
        "length_term": controlled.terms["length"],
        "mean_length": float(lengths[model].mean()),
        "baseline_mean_length": float(lengths[baseline].mean()),
        "longer_share": float((lengths[model] > lengths[baseline]).mean()),
    }


def _interval(samples: Sequence[float], value: float, standard_error: float) -> list[float]:
    """The bootstrap percentiles; without resamples the normal interval."""
    if not samples:
        return [max(0.0, value - NORMAL_95 * standard_error), min(1.0, value + NORMAL_95 * standard_error)]
    low, high = np.quantile(samples, [0.025, 0.975])
    return [float(low), float(high)]


def _answers(config: WinRate, folder: Path, rows: Sequence[Conversation]) -> list[dict[str, Any]]:
    tokenizer, model = load(folder, config.threads)
    answers = answer(
        tokenizer,
        model,
        rows,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        seed=config.seed,
    )
    return [vars(given) for given in answers]


def _scores(config: WinRate, folder: Path, rows: Sequence[Conversation], answers: Sequence[Answer]) -> Floats:
    """The judge's score of each answer; one that was cut off at the limit is judged as if it ended there."""
    from athanor.posttrain.messages import split_completion
    from athanor.posttrain.model_folder import load_reward_model
    from athanor.posttrain.rollout import Episode, scores_of
    from athanor.tokenizer.tokenizer import Tokenizer
    from athanor.train.precision import use_threads

    use_threads(config.threads)
    tokenizer = Tokenizer.load(folder)
    judge = load_reward_model(folder)
    room = judge[0].config.context_length
    episodes = []
    for row, given in zip(rows, answers, strict=True):
        prompt, completion = split_completion(tokenizer, question(row), given.text)
        episodes.append(Episode(prompt[-max(1, room - len(completion)) :], completion[-room + 1 :], True, []))
    return np.array(scores_of(judge, tokenizer, episodes, JUDGED_TOKENS).tolist())


def _battles(
    rows: Sequence[Conversation],
    answers: Mapping[str, Sequence[Answer]],
    scores: Mapping[str, Floats],
) -> list[dict[str, Any]]:
    return [
        {
            "prompt": question(row),
            "page": page_of(row, i),
            "answers": {name: vars(answers[name][i]) | {"score": float(scores[name][i])} for name in answers},
        }
        for i, row in enumerate(rows)
    ]

"""How much data fine-tuning needs, and whether better data makes up for less (Zhou et al. 2023; Chen et al. 2023).

In: a base model, sources of conversations, held-out ones. Out: `runs.jsonl`, one row for each source, size and seed;
`curve.jsonl`, the held-out loss of the answers against the number of rows, with intervals over the seeds (Student's
t), or over the held-out rows where there is one seed; `figure.svg`; `answers.jsonl`; with a judge, win rates over the
base.

Every run sees the same held-out rows and, unless max_epochs ends it, takes the same number of steps: what differs is
how often it sees a row. The lowest loss on the way stands beside the last one, chosen on the held-out rows themselves
and so a little too good. A run is finished when its result.json is there; a killed study goes on in the middle of one.
"""

import glob
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from athanor.core.artifact import WORK, read_json, write_json, write_jsonl, write_text
from athanor.core.config import ConfigError, matching_files
from athanor.core.console import say, warn
from athanor.core.plots import Axis, Curve, Dots, plot
from athanor.core.seeds import student_interval
from athanor.core.tracker import read_metrics
from athanor.evaluation.answers import answer, question, spread
from athanor.evaluation.bootstrap import ratio_interval
from athanor.posttrain.config import Conversations, SftStudy
from athanor.posttrain.conversations import read_all
from athanor.posttrain.messages import Conversation, encoded_conversations
from athanor.posttrain.model_folder import load_policy, save_policy
from athanor.posttrain.sft import fine_tune, prepare, summed_losses
from athanor.posttrain.splits import hashed
from athanor.posttrain.study_judge import judge_of, win_rate_of
from athanor.tokenizer.tokenizer import Tokenizer

Row = dict[str, Any]


def run(config: SftStudy, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Train and measure every run that is not finished yet; the curve."""
    if not config.files or not config.test_files:
        raise ConfigError("sft-study: name the sources (files) and what to measure on (test_files)")
    config.sft.parallel.on(1)  # a study is the work of one process
    sources, test, numbers = _rows(config)
    model, tokenizer = load_policy(inputs["model"], config.sft.precision, config.sft.threads, config.sft.chat_template)
    context_length = model.config.context_length
    held_out, kept_rows = _encoded(test, tokenizer, context_length, config)
    held_out = spread(held_out, config.sft.num_held_out)
    if not held_out:
        raise ValueError(f"sft-study: none of {len(test)} held-out rows fits {context_length} tokens")
    asked = spread(spread(kept_rows, config.sft.num_held_out), config.num_answers)
    base_place = out / WORK / "base.json"
    if not base_place.exists():
        write_json(base_place, _measured(config, model, tokenizer, held_out, asked))
    base = read_json(base_place)
    judge = judge_of(config, inputs) if config.win_rate else None
    encoded = {name: _encoded(rows, tokenizer, context_length, config)[0] for name, rows in sources.items()}
    numbers["left_out"] = {name: len(rows) - len(encoded[name]) for name, rows in sources.items()}
    planned = [(name, size) for name in sources for size in sorted(config.sizes) if size <= len(encoded[name])]
    if not planned:
        raise ValueError("sft-study: every size is larger than every source; name smaller sizes")
    results: list[Row] = []
    for seed in config.seeds:  # a study that is cut short has fewer seeds of everything
        for source, size in planned:
            place = out / "runs" / f"{source}-{size}-{seed}"
            if not (place / "result.json").exists():
                chosen = _chosen(encoded[source], size, seed)
                _one_run(config, inputs["model"], chosen, held_out, asked, seed, place)
            result = read_json(place / "result.json")
            if judge is not None:
                result |= win_rate_of(judge, config, asked, result["answers"], base["answers"], place)
            results.append({"source": source, "size": size, "seed": seed, **result})
            say(f"  {source}, {size} rows, seed {seed}: held-out loss {result['held_out_loss']:.3f}")
    results.sort(key=lambda row: (list(sources).index(row["source"]), row["size"], config.seeds.index(row["seed"])))
    curve = _curve(results, held_out)
    hidden = ("answers", "nats")
    write_jsonl(out / "runs.jsonl", [{k: v for k, v in row.items() if k not in hidden} for row in results])
    write_jsonl(out / "curve.jsonl", curve)
    write_jsonl(out / "answers.jsonl", _answer_rows(asked, base, results))
    write_text(out / "figure.svg", _figure(curve, base["held_out_loss"]))
    return {
        "curve": curve,
        "held_out_loss": {f"{row['source']} {row['size']}": row["held_out_loss"] for row in curve},
        "base_held_out_loss": base["held_out_loss"],
        "base_ends": base["ends"],
        "held_out_conversations": len(held_out),
        "answers": len(asked),
        "judge": judge.name if judge is not None else None,
        "steps": config.sft.num_steps,
        **numbers,
    }


def _rows(config: SftStudy) -> tuple[dict[str, list[Row]], list[Row], dict[str, Any]]:
    """The rows of each source, the held-out rows that no source asks for, and counts."""
    settings, dropped = Conversations(seed=0), []  # type: tuple[Conversations, list[Row]]
    sources: dict[str, list[Row]] = defaultdict(list)
    for path in matching_files(config.files):
        for row in read_all([glob.escape(str(path))], settings, dropped):  # a row may stand in several sources
            sources[row["source"]].append(row)
    test = read_all(config.test_files, settings, dropped)
    prompts = {row["page"] for rows in sources.values() for row in rows}
    unseen = [row for row in test if row["page"] not in prompts]
    if len(unseen) < len(test):
        warn(f"sft-study: {len(test) - len(unseen)} of {len(test)} held-out rows have a prompt of a source; left out")
    if not unseen:
        raise ValueError("sft-study: every held-out prompt is also a prompt of a source")
    counts = {
        "rows": {name: len(rows) for name, rows in sources.items()},
        "rows_dropped": len(dropped),
        "held_out_also_in_training": len(test) - len(unseen),
        "left_out": {},
    }
    return dict(sources), unseen, counts


def _encoded(
    rows: Sequence[Row], tokenizer: Tokenizer, context_length: int, config: SftStudy
) -> tuple[list[Conversation], list[Row]]:
    """The rows that fit the context, as tokens and as they are."""
    found, left_out = encoded_conversations(rows, tokenizer, context_length, config.sft.loss_on)
    missing = {row["row"] for row in left_out.rows}
    return found, [row for number, row in enumerate(rows, start=1) if number not in missing]


def _chosen(rows: Sequence[Conversation], size: int, seed: int) -> list[Conversation]:
    """`size` of the rows in the order of a hash, so that a smaller set lies in every larger one of the same seed."""
    order = sorted(range(len(rows)), key=lambda i: hashed(seed, "study", str(i)))
    return [rows[i] for i in order[:size]]


def _one_run(
    config: SftStudy,
    base: Path,
    rows: Sequence[Conversation],
    held_out: Sequence[Conversation],
    asked: Sequence[Row],
    seed: int,
    place: Path,
) -> None:
    """Fine-tune the base on `rows` and write result.json."""
    settings = replace(config.sft, seed=seed)
    model, tokenizer = load_policy(base, settings.precision, settings.threads, settings.chat_template)
    num_steps = settings.fit(len(rows)).num_steps

    def after_step(done: int) -> dict[str, float]:
        if done % settings.evaluate_every and done != num_steps:
            return {}
        return {"held_out_loss": _mean_loss(model, held_out, settings.micro_batch_tokens)}

    prepare(settings, model)
    fitted = fine_tune(settings, model, rows, place, after_step, label=place.name)
    model.compute_dtype = torch.float32
    result = _measured(config, model, tokenizer, held_out, asked)
    on_the_way = {row["step"]: row["held_out_loss"] for row in read_metrics(place) if "held_out_loss" in row}
    best = min(on_the_way, key=lambda step: on_the_way[step])
    if config.keep_models:
        save_policy(model, base, place, tokenizer)
    result |= {
        "training_loss": fitted.loss,
        "steps": num_steps,
        "epochs": round(num_steps * settings.batch_size / len(rows), 2),
        "best_held_out_loss": on_the_way[best],
        "best_step": best,
    }
    write_json(place / "result.json", result)
    shutil.rmtree(place / WORK, ignore_errors=True)


def _measured(
    config: SftStudy, model: Any, tokenizer: Tokenizer, held_out: Sequence[Conversation], asked: Sequence[Row]
) -> dict[str, Any]:
    """Loss on the held-out answers, and the model's own ones."""
    nats = summed_losses(model, held_out, config.sft.micro_batch_tokens)
    answers = answer(tokenizer, model, asked, max_new_tokens=config.sft.max_new_tokens, seed=config.sft.seed)
    return {
        "held_out_loss": sum(nats) / sum(row.num_completion_tokens for row in held_out),
        "nats": nats,
        "ends": fmean(one.ended for one in answers),
        "answer_characters": fmean(len(one.text) for one in answers),
        "answers": [one.text for one in answers],
    }


def _mean_loss(model: Any, rows: Sequence[Conversation], micro_batch_tokens: int) -> float:
    return sum(summed_losses(model, rows, micro_batch_tokens)) / sum(row.num_completion_tokens for row in rows)


def _curve(results: Sequence[Row], held_out: Sequence[Conversation]) -> list[Row]:
    """Means over the seeds of each source and size."""
    tokens = [row.num_completion_tokens for row in held_out]
    groups: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in results:
        groups[row["source"], row["size"]].append(row)
    curve = []
    for (source, size), rows in groups.items():
        losses = [row["held_out_loss"] for row in rows]
        if len(rows) > 1:
            interval = student_interval(losses)
        else:
            interval = list(ratio_interval(rows[0]["nats"], tokens, range(len(tokens))))
        entry = {
            "source": source,
            "size": size,
            "seeds": len(rows),
            "epochs": rows[0]["epochs"],
            "held_out_loss": fmean(losses),
            "interval": interval,
            "interval_over": "seeds" if len(rows) > 1 else "held-out rows",
        }
        names = ("best_held_out_loss", "training_loss", "ends", "answer_characters")
        entry |= {name: fmean(row[name] for row in rows) for name in names}
        if "win_rate" in rows[0]:
            wins = [row["win_rate"] for row in rows]
            entry |= {"win_rate": fmean(wins)}
            entry |= {
                "win_rate_interval": student_interval(wins, 0.0, 1.0) if len(rows) > 1 else rows[0]["win_rate_interval"]
            }
        curve.append(entry)
    return curve


def _figure(curve: Sequence[Row], base_loss: float) -> str:
    marks: list[Any] = []
    sizes = [row["size"] for row in curve]
    for colour, source in enumerate(dict.fromkeys(row["source"] for row in curve), start=1):
        rows = [row for row in curve if row["source"] == source]
        x, y = [row["size"] for row in rows], [row["held_out_loss"] for row in rows]
        low, high = ([row["interval"][end] for row in rows] for end in (0, 1))
        marks += [Curve("", x, y, colour, thin=True), Dots(source, x, y, colour, low=low, high=high)]
        marks.append(Curve("", x, [row["best_held_out_loss"] for row in rows], colour, dashed=True, thin=True))
    marks.append(Curve("base", [min(sizes), max(sizes)], [base_loss, base_loss], 6, dashed=True))
    return plot(
        marks,
        title="Held-out response loss against the rows trained on",
        subtitle="bars: 95% intervals; dashed: lowest on the way",
        description="; ".join(
            f"{row['source']}, {row['size']} rows: {row['held_out_loss']:.3f} ({row['interval'][0]:.3f} to "
            f"{row['interval'][1]:.3f})"
            for row in curve
        ),
        x=Axis("rows trained on", log=True),
        y=Axis("nats per token of the answer"),
    )


def _answer_rows(asked: Sequence[Row], base: Row, results: Sequence[Row]) -> list[Row]:
    rows = []
    for i, row in enumerate(asked):
        given = {f"{r['source']}-{r['size']}-{r['seed']}": r["answers"][i] for r in results}
        rows.append({"prompt": question(row), "documented": row["messages"][-1]["content"], "base": base["answers"][i]})
        rows[-1] |= {"models": given}
    return rows

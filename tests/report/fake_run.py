"""A finished run in small: real manifests and files in the formats that the steps write, with invented numbers."""

import hashlib
import math
from pathlib import Path
from typing import Any

from athanor.core.artifact import Manifest, result_files, write_json, write_jsonl, write_manifest, write_text
from athanor.core.documents import Document, Removed, write_removed_shard

QUESTION = "What does asyncio.Queue.get_nowait do?"
ANSWERS = {
    "base": "The get_nowait is a a module for the the and returns of the of the class of the",
    "sft": "Remove and return an item from the list if it is not available.",
    "dpo": "Return an item from the queue if one is available, else raise an exception.",
    "ppo": "Return an item from the queue immediately.",
}
DOCUMENTED = "Remove and return an item from the queue if one is immediately available, else raise QueueEmpty."
WORDS = ["the tokenizer", " merges", " the", " most", " frequent", " pairs"]


class FakeRun:
    """Steps written one by one under `root`; `folders` is what the report step receives."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders: dict[str, Path] = {}
        self.clock = 0.0

    def folder(self, name: str) -> Path:
        path = self.root / f"{name}-0000"
        path.mkdir(parents=True, exist_ok=True)
        self.folders[name] = path
        return path

    def finish(
        self,
        name: str,
        kind: str,
        metrics: dict[str, Any],
        inputs: dict[str, str] | None = None,
        *,
        seconds: float = 10.0,
        config: dict[str, Any] | None = None,
        **changed: Any,
    ) -> None:
        """Write the manifest of a step made from other steps, named in `inputs`."""
        folder = self.folder(name)
        start = self.clock
        self.clock += seconds
        fields: dict[str, Any] = {
            "name": name,
            "kind": kind,
            "version": 1,
            "fingerprint": fingerprint(name),
            "config": config or {"seed": 0},
            "runtime": {"workers": 2},
            "inputs": {i: fingerprint(step) for i, step in (inputs or {}).items()},
            "metrics": metrics,
            "files": result_files(folder),
            "code": {"version": "0.1.0", "git_commit": "5f0c9a7"},
            "libraries": {"python": "3.11.9", "torch": "2.13.0", "numpy": "2.4.6"},
            "device": {"system": "Linux x86_64", "processor": "Example 9000", "cores": 2, "memory_bytes": 8 * 2**30},
            "argv": ["athanor", "run", "recipes/quickstart.yaml"],
            "seed": 0,
            "started": f"2026-11-23T18:{int(start // 60):02d}:{int(start % 60):02d}Z",
            "ended": f"2026-11-23T18:{int(self.clock // 60):02d}:{int(self.clock % 60):02d}Z",
            "seconds": seconds,
            "peak_memory_bytes": int(3e8 + 4e6 * len(self.folders) ** 2),
        }
        write_manifest(folder, Manifest(**(fields | changed)))


def fingerprint(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def write_fake_run(root: Path) -> dict[str, Path]:
    """All steps of a small quickstart; returns name -> folder."""
    run = FakeRun(root)
    _data(run)
    _tokens_and_model(run)
    _assistant(run)
    _rewards(run)
    return run.folders


def _data(run: FakeRun) -> None:
    write_jsonl(run.folder("crawl") / "skipped.jsonl", [{"url": "http://127.0.0.1/x", "reason": "404"}])
    skipped = {"not found": 14, "not text": 3}
    run.finish("crawl", "crawl", {"pages": 3124, "size_bytes": 31_204_117, "skipped": skipped}, seconds=74)
    gone = [
        Removed(Document("a1", "http://127.0.0.1/torch.jit.html", "pass pass pass " * 60), "gopher", "repeated lines"),
        Removed(Document("a2", "http://127.0.0.1/idlelib.html", "__version__ = 1\nDATA\n"), "gopher", "too few words"),
        Removed(Document("a3", "http://127.0.0.1/cgi.html", "a <script>alert('x')</script> page"), "c4", "code"),
    ]
    write_removed_shard(run.folder("extract") / "removed" / "00000.parquet", gone[2:])
    run.finish(
        "extract",
        "data.extract",
        {
            "records": 6300, "pages": 3124, "documents": 3089, "errors": 1, "removed": {"c4: code": 35},
            "bytes_html": 98_400_201, "bytes_text": 28_912_034,
        },
        {"pages": "crawl"},
        seconds=8,
    )  # fmt: skip
    write_removed_shard(run.folder("filter") / "removed" / "00000.parquet", gone)
    removed = {"gopher: too few words": 402, "gopher: repeated lines": 118, "language: not English": 7, "c4: code": 12}
    run.finish(
        "filter",
        "data.filter",
        {"documents_in": 3089, "documents_out": 2550, "bytes_in": 28_912_034, "bytes_out": 27_011_550,
         "removed": removed, "pii": {"email": 41}, "languages": {"en": 3021, "de": 61, "unknown": 7},
         "described": described([40, 800, 1500, 210]),
         "funnel": [
             {"rule": "language", "documents_in": 3089, "documents_out": 3082, "bytes_out": 28_900_000},
             {"rule": "gopher", "documents_in": 3082, "documents_out": 2562, "bytes_out": 27_100_000},
             {"rule": "c4", "documents_in": 2562, "documents_out": 2550, "bytes_out": 27_011_550}]},
        {"documents": "extract"},
        seconds=11,
    )  # fmt: skip
    copies = Removed(Document("a4", "http://127.0.0.1/a.html", "Help on module a. " * 9), "near", "near copy of b, .93")
    write_removed_shard(run.folder("dedup") / "removed" / "00000.parquet", [copies])
    run.finish(
        "dedup",
        "data.dedup",
        {"documents_in": 2550, "documents_out": 2204, "bytes_in": 27_011_550, "bytes_out": 17_902_120,
         "removed": {"near: near copy of a kept document": 301, "exact: same text as a kept document": 45},
         "lines_removed": 81_221, "clusters": 90, "cluster_sizes": {"2": 60, "3": 12, "5": 17, "75": 1},
         "similarity_histogram": {"edges": [0.7, 0.8, 0.9, 1.0], "counts": [20, 81, 200]}},
        {"documents": "filter"},
        seconds=6,
    )  # fmt: skip
    run.finish(
        "quality",
        "data.quality",
        {"documents_in": 2204, "documents_out": 2204, "bytes_in": 17_902_120, "bytes_out": 17_902_120, "removed": {},
         "auc": 0.957, "threshold": 0.0, "score_histogram": {"edges": [0, 0.5, 1], "counts": [804, 1400]}},
        {"documents": "dedup", "rejected": "filter"},
        seconds=4,
    )  # fmt: skip
    run.finish(
        "mixture",
        "data.mixture",
        {"documents": {"train": 2094, "high_quality": 418, "validation": 110},
         "bytes": {"train": 17_010_400, "high_quality": 3_420_000, "validation": 891_720},
         "by": "domain", "tokens_from": ["estimated at 4 bytes per token"],
         "sources": {
             "reference": {"tokens": 3_400_000, "weight": 0.7, "share": 0.72, "epochs": 1.0, "capped": False},
             "<b>code</b>": {"tokens": 300_000, "weight": 0.3, "share": 0.28, "epochs": 4.0, "capped": True}},
         "described": described([20, 700, 1200, 174]) | {
             "domains": {"reference": 1800, "<b>code</b>": 294}, "hosts": {"docs.example": 2000, "(others)": 94}}},
        {"documents": "quality"},
        seconds=2,
    )  # fmt: skip


def described(counts: list[int]) -> dict[str, Any]:
    """What a step says of its documents: lengths from 256 bytes on."""
    lengths = {"edges": [256 << i for i in range(len(counts) + 1)], "counts": counts}
    return {"documents": sum(counts), "length_histogram": lengths, "languages": {"en": sum(counts)}}


def _tokens_and_model(run: FakeRun) -> None:
    tokens = list("the furnace keeps one even heat")
    steps: list[dict[str, Any]] = [{"merge": None, "tokens": list(tokens)}]
    for word in ("the", "keeps", "heat", "one", "even", "furnace"):
        for end in range(2, len(word) + 1):
            left, right = word[: end - 1], word[end - 1]
            tokens = _merged(tokens, left, right)
            steps.append({"merge": [left, right], "tokens": list(tokens)})
    write_json(run.folder("tokenizer") / "sample.json", {"text": "the furnace keeps one even heat", "steps": steps})
    run.finish(
        "tokenizer",
        "tokenizer.train",
        {"vocab_size": 4096, "merges": 3834, "bytes_per_token": 3.86},
        {"documents": "mixture"},
        seconds=5,
    )
    tokenized = {"documents": "mixture", "tokenizer": "tokenizer"}
    run.finish("tokens", "tokenizer.shards", {"tokens": 4_406_112, "documents": 2094}, tokenized, seconds=3)
    rows: list[dict[str, Any]] = []
    for step in range(1, 901):
        loss = 2.3 + 6.0 * math.exp(-step / 70) + 0.05 * math.sin(step * 1.7)
        rate = 0.003 * min(1, step / 40, (901 - step) / 450)
        row: dict[str, Any] = {"step": step, "seconds": step * 0.3, "loss": loss, "learning_rate": rate}
        if step % 100 == 0 or step == 900:
            row |= {"validation_loss": loss + 0.12, "validation_bits_per_byte": (loss + 0.12) / math.log(2) / 3.86}
        rows.append(row)
    folder = run.folder("pretrain")
    write_jsonl(folder / "metrics.jsonl", rows)
    samples = [
        {"step": 1, "prompt": "A function that", "completion": "\x00 ofpsx \u2028 selfdef the the"},
        {"step": 300, "prompt": "A function that", "completion": " is the object of the class and the the list."},
        {"step": 900, "prompt": "A function that", "completion": " returns a list of the names in the module."},
    ]
    write_jsonl(folder / "samples.jsonl", samples)
    write_text(folder / "model.safetensors", "not a real model")
    run.finish(
        "pretrain",
        "train.pretrain",
        {"parameters": 5_801_216, "tokens": 14_745_600, "loss": 2.31, "validation_loss": 2.42, "perplexity": 11.25,
         "bits_per_byte": 0.905},
        {"tokens": "tokens", "tokenizer": "tokenizer"},
        seconds=281,
        config={"seed": 0, "fit": {"num_steps": 900, "adamw": {"lr_peak": 0.003}}},
    )  # fmt: skip
    pages = [
        {"id": f"p{i}", "url": f"http://127.0.0.1:4000/module.{i}.html", "bytes": 8000 + 31 * i, "tokens": 2000,
         "model_bits_per_byte": 0.7 + 0.1 * i, "ngram_bits_per_byte": 1.1 + 0.1 * i}
        for i in range(10)
    ]  # fmt: skip
    run.finish(
        "language_model",
        "evaluation.language_model",
        {"bits_per_byte": {"model": 0.913, "ngram": 1.312, "xz": 1.094}, "beaten": {"ngram": True, "xz": True},
         "interval": [0.881, 0.947], "perplexity": 11.4, "documents": 110, "bytes": 891_720, "tokens": 231_000,
         "training_bytes": 17_010_400, "protocol": "every document alone", "best": pages[:5], "worst": pages[:4:-1]},
        {"model": "pretrain", "documents": "mixture"},
        seconds=22,
        config={"seed": 0, "ngram_order": 5},
    )  # fmt: skip


def _merged(tokens: list[str], left: str, right: str) -> list[str]:
    out: list[str] = []
    for token in tokens:
        if out and (out[-1], token) == (left, right):
            out[-1] += token
        else:
            out.append(token)
    return out


def _assistant(run: FakeRun) -> None:
    messages = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": DOCUMENTED}]
    row = {"messages": messages, "url": "http://127.0.0.1:4000/asyncio.queues.html", "page": "asyncio.queues"}
    asked, told = "Explain heapq.merge.", "Merge several sorted inputs into one sorted output."
    other = row | {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]}
    write_jsonl(run.folder("instructions") / "test.jsonl", [row, other, row, other])
    run.finish(
        "instructions",
        "posttrain.instructions",
        {"rows": {"sft": 2810, "preference": 640, "gold": 610, "test": 200}, "pages": 1520, "dropped": {"private": 90}},
        {"pages": "crawl", "documents": "mixture"},
        seconds=9,
    )
    tuned = [{"step": i, "seconds": i * 0.2, "loss": 2.2 + 1.2 * math.exp(-i / 30)} for i in range(1, 161)]
    tuned = [row | ({"held_out_loss": row["loss"] + 0.1} if row["step"] % 20 == 0 else {}) for row in tuned]
    write_jsonl(run.folder("sft") / "metrics.jsonl", tuned)
    sft = {"conversations": 2810, "held_out_loss_before": 3.61, "held_out_loss": 2.31, "steps": 160}
    run.finish("sft", "posttrain.sft", sft, {"model": "pretrain", "conversations": "instructions"}, seconds=41)


def _rewards(run: FakeRun) -> None:
    model_and_conversations = {"model": "sft", "conversations": "instructions"}
    pairs = {"pairs": {"proxy": 900, "gold": 880, "held_out": 170}}
    run.finish("preferences", "posttrain.preferences", pairs, model_and_conversations, seconds=30)
    for name, split, accuracy in (("reward_model", "proxy", 0.861), ("gold_reward_model", "gold", 0.848)):
        run.finish(
            name,
            "posttrain.reward_model",
            {"accuracy": accuracy, "accuracy_interval": [accuracy - 0.05, accuracy + 0.04],
             "length_rule_accuracy": 0.612, "held_out_pairs": 170, "split": split},
            {"model": "sft", "preferences": "preferences"},
            seconds=24,
            config={"seed": 0, "split": split},
        )  # fmt: skip
    dpo = [{"step": i, "seconds": i, "loss": 0.69 * math.exp(-i / 80), "accuracy": 0.5 + i / 150} for i in range(1, 61)]
    write_jsonl(run.folder("dpo") / "metrics.jsonl", dpo)
    dpo_metrics = {"held_out_accuracy": 0.871, "loss": 0.33}
    run.finish("dpo", "posttrain.dpo", dpo_metrics, {"model": "sft", "preferences": "preferences"}, seconds=38)
    ppo = [{"step": i, "seconds": i, "reward": 0.1 * i, "kl": 0.3 * i} for i in range(1, 17)]
    write_jsonl(run.folder("ppo") / "metrics.jsonl", ppo)
    made_from = {"model": "sft", "reward_model": "reward_model", "conversations": "instructions"}
    run.finish("ppo", "posttrain.ppo", {"reward": 1.6, "kl": 4.8}, made_from, seconds=55)

    sample = {"prompt": [{"role": "user", "content": QUESTION}], "documented": DOCUMENTED} | ANSWERS
    write_jsonl(run.folder("responses") / "samples.jsonl", [sample] * 8)
    models = {"base": "pretrain", "sft": "sft", "dpo": "dpo", "ppo": "ppo"}
    loss = {"base": 3.61, "sft": 2.31, "dpo": 2.44, "ppo": 2.52}
    run.finish(
        "responses",
        "evaluation.response_loss",
        {"response_loss": loss, "interval": {name: [v - 0.09, v + 0.1] for name, v in loss.items()},
         "perplexity": {name: math.exp(v) for name, v in loss.items()},
         "ends": {"base": 0.0, "sft": 0.81, "dpo": 0.86, "ppo": 0.97},
         "conversations": 200, "pages": 71, "skipped": 0},
        {**models, "conversations": "instructions"},
        seconds=21,
    )  # fmt: skip
    curve = [{"method": "sft", "step": 0, "kl": 0.0, "kl_error": 0.0, "proxy_reward": 0.1, "proxy_error": 0.1,
              "gold_reward": 0.0, "gold_error": 0.1, "length": 24.0, "ends": 0.81}]  # fmt: skip
    for method, gain in (("dpo", 0.5), ("ppo", 0.4)):
        for i in range(1, 5):
            curve.append(
                {"method": method, "step": 15 * i, "kl": 1.4 * i, "kl_error": 0.1 * i,
                 "proxy_reward": 0.1 + gain * i, "proxy_error": 0.11,
                 "gold_reward": gain * i - 0.09 * i * i, "gold_error": 0.12, "length": 24.0 - i, "ends": 0.9}
            )  # fmt: skip
    write_jsonl(run.folder("compare") / "curve.jsonl", curve)
    judged = {"reward_model": "reward_model", "gold_reward_model": "gold_reward_model", "sft": "sft", "dpo": "dpo",
              "ppo": "ppo", "conversations": "instructions"}  # fmt: skip
    run.finish("compare", "posttrain.compare", {"prompts": 64, "final": {}}, judged, seconds=33)
    table = [
        {"model": model, "baseline": baseline, "judge": "gold_reward_model", "win_rate": rate,
         "interval": [rate - 0.05, rate + 0.05], "length_controlled_win_rate": rate - 0.04,
         "length_controlled_interval": [rate - 0.1, rate + 0.02], "mean_length": 88.0, "baseline_mean_length": 97.5}
        for baseline, rates in (("sft", {"dpo": 0.63, "ppo": 0.58, "documented": 0.71}),
                                ("documented", {"sft": 0.29, "dpo": 0.37, "ppo": 0.33}))
        for model, rate in rates.items()
    ]  # fmt: skip
    run.finish(
        "win_rates",
        "arena.win_rate",
        {"judge": "gold_reward_model: a reward model, not people", "win_rates": table, "prompts": 200, "pages": 71,
         "length_control": "AlpacaEval 2 without prompt difficulty"},
        {"sft": "sft", "dpo": "dpo", "ppo": "ppo", "gold_reward_model": "gold_reward_model",
         "conversations": "instructions"},
        seconds=26,
    )  # fmt: skip

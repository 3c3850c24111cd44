"""What both sides of benchmarks/posttrain.py start from: a model, a tokenizer, and the same tokens in the same order.

Data: the Alpaca subset random_9k (SFT, prompts) and hh-rlhf harmless-base (pairs), as lists of tokens that neither side
makes again while it is measured. Both sides read the rows in order, so that every step has the same ones. Weights are
random: what a step costs does not depend on them, and sampled answers then have the same length on both sides.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer
from athanor.posttrain.messages import split_completion
from athanor.posttrain.model_folder import save_policy, save_reward_model
from athanor.tokenizer.bpe_train import train_merges
from athanor.tokenizer.chat_template import encode_prompt, render
from athanor.tokenizer.machine import with_slack
from athanor.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer
from athanor.tokenizer.vocabulary import trained_vocabulary
from athanor.tokenizer.word_counts import WordCounter

VOCAB_SIZE = 8192
NUM_ROWS = 1200  # of each kind
LONGEST = 512  # tokens of a row, as of both sides
LONGEST_PROMPT = 64  # of those that answers are sampled to
NUM_LONG = 256  # pairs whose two sequences have 1,024 tokens each
SHAPE = {"num_layers": 8, "d_model": 288, "d_ff": 768, "num_heads": 6, "num_kv_heads": 6, "head_width": 48}
Message = dict[str, str]


def prepare(data: Path, folder: Path) -> dict[str, float]:
    """Write model, reward model and token files to `folder`; how large they are."""
    alpaca = [conversation(row) for row in json.loads((data / "random_9k.json").read_text(encoding="utf-8"))]
    tokenizer = train_tokenizer([message["content"] for row in alpaca for message in row])
    tokenizer.save(folder / "tokenizer")
    model = random_model(tokenizer.vocab_size)
    save_policy(model, folder / "tokenizer", folder / "model")
    score_1D = torch.randn(1, SHAPE["d_model"], generator=torch.Generator().manual_seed(2)) / SHAPE["d_model"] ** 0.5
    save_reward_model(model, score_1D, folder / "tokenizer", folder / "reward_model")
    splits = [split_completion(tokenizer, row[:-1], row[-1]["content"]) for row in alpaca]
    sft = [{"prompt_ids": p, "completion_ids": c} for p, c in splits if len(p) + len(c) <= LONGEST]
    pairs = [pair for row in hh_rows(data / "harmless-base.test.jsonl.gz") if (pair := pair_of(tokenizer, row))]
    long = long_pairs([token for row in sft for token in row["completion_ids"]])
    prompts = [row[:-1] for row in alpaca if len(encode_prompt(tokenizer, row[:-1])) <= LONGEST_PROMPT]
    asked = [
        {"prompt": render(p, add_generation_prompt=True), "prompt_ids": encode_prompt(tokenizer, p)} for p in prompts
    ]
    for name, rows in (("sft", sft), ("pairs", pairs), ("long", long), ("prompts", asked)):
        write_rows(folder / f"{name}.jsonl", shuffled(rows))
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "sft_tokens": float(np.mean([len(row["prompt_ids"]) + len(row["completion_ids"]) for row in sft])),
        "sft_completion_tokens": float(np.mean([len(row["completion_ids"]) for row in sft])),
        "pair_prompt_tokens": float(np.mean([len(row["prompt_ids"]) for row in pairs])),
        "pair_answer_tokens": float(np.mean([len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in pairs])) / 2,
    }


def shuffled(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that are read, in the order in which they are."""
    order = np.random.default_rng(0).permutation(len(rows))
    return [rows[order[place % len(rows)]] for place in range(NUM_ROWS)]


def conversation(row: dict[str, str]) -> list[Message]:
    """A row of Alpaca as two messages."""
    question = row["instruction"] + (f"\n\n{row['input']}" if row["input"] else "")
    return [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}]


def hh_rows(path: Path) -> Iterator[tuple[list[Message], str, str]]:
    """Prompt, chosen and rejected answer of the pairs that differ in the last turn only."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            chosen, rejected = turns(row["chosen"]), turns(row["rejected"])
            if len(chosen) > 1 and chosen[-1]["role"] == "assistant" and chosen[:-1] == rejected[:-1]:
                yield chosen[:-1], chosen[-1]["content"], rejected[-1]["content"]


def turns(text: str) -> list[Message]:
    """A transcript as messages."""
    parts = text.replace("\n\nAssistant:", "\n\nHuman:\0").split("\n\nHuman:")[1:]
    roles = ("user", "assistant")
    return [{"role": roles[part.startswith("\0")], "content": part.lstrip("\0").strip()} for part in parts]


def pair_of(tokenizer: Tokenizer, row: tuple[list[Message], str, str]) -> dict[str, Any] | None:
    """Tokens of a pair, or None where it is too long or a side is empty."""
    prompt, chosen, rejected = row
    if not chosen or not rejected:
        return None
    prompt_ids, chosen_ids = split_completion(tokenizer, prompt, chosen)
    _, rejected_ids = split_completion(tokenizer, prompt, rejected)
    if len(prompt_ids) + max(len(chosen_ids), len(rejected_ids)) > LONGEST:
        return None
    return {"prompt_ids": prompt_ids, "chosen_ids": chosen_ids, "rejected_ids": rejected_ids}


def long_pairs(tokens: Sequence[int]) -> list[dict[str, Any]]:
    """Pairs of 512 tokens of prompt and 512 of each answer, cut from one stream."""
    size = 1536
    rows = (tokens[start : start + size] for start in range(0, min(len(tokens) - size, NUM_LONG * size), size))
    return [{"prompt_ids": r[:512], "chosen_ids": r[512:1024], "rejected_ids": r[1024:]} for r in rows]


def train_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """A vocabulary of VOCAB_SIZE tokens, special ones included."""
    counter = WordCounter("gpt4")
    encoded = [text.encode() for text in texts]
    counter.add(with_slack(b"".join(encoded)), np.cumsum([0, *map(len, encoded)], dtype=np.int64))
    merges = train_merges(counter.result(), VOCAB_SIZE - 256 - len(SPECIAL_TOKENS))
    return Tokenizer(trained_vocabulary("gpt4", merges, SPECIAL_TOKENS))


def random_model(vocab_size: int) -> Transformer:
    """A Llama of about ten million parameters whose every weight is a small random number."""
    config = ModelConfig(vocab_size=vocab_size, context_length=1024, qk_norm=False, tied_embeddings=True, **SHAPE)
    model = Transformer(config, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
    return model


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

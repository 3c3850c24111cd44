"""Bits per byte and perplexity of a language model on held-out documents, beside two baselines.

In: a model folder, and a mixture with train/ and validation/. Out: bits per byte of the model, of an interpolated
byte n-gram model and of xz, all on the same documents and over the same UTF-8 bytes, and documents.jsonl with every
document's share. Every document is predicted alone: the nats of all its tokens given its begin token, its end
token included. A document longer than the model's context is read in windows that overlap; each token is scored
once, in the first window that reaches it. Both baselines learned from the training documents.
Left out: choosing among tokenisations of a text; the tokenizer's own one is scored.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from athanor.core.artifact import WORK, read_json, write_json, write_jsonl
from athanor.core.console import progress
from athanor.core.documents import Document, read_documents
from athanor.evaluation import ngram
from athanor.evaluation.answers import load
from athanor.evaluation.bootstrap import ratio_interval
from athanor.evaluation.compression import xz_bits_per_byte
from athanor.evaluation.config import LanguageModel

if TYPE_CHECKING:
    from athanor.model import language_model as models

LN2 = math.log(2)
WINDOWS_PER_CALL = 64


def run(config: LanguageModel, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Compare `inputs["model"]` with the baselines on `inputs["documents"]/validation`; returns the metrics."""
    documents = [d for d in read_documents(inputs["documents"] / "validation") if d.text]
    if not documents:
        raise ValueError(f"{inputs['documents'] / 'validation'}: no text to measure on; hold out at least one page")
    training = training_texts(inputs["documents"] / "train", config.max_training_bytes)
    texts = [d.text for d in documents]
    num_bytes = np.array([len(text.encode("utf-8", "surrogatepass")) for text in texts])

    order = config.ngram_order
    model = _kept(out / WORK / "model.json", lambda: _model_nats(config, inputs["model"], texts))
    ngram_nats = _kept(out / WORK / "ngram.json", lambda: ngram.train(training, order).nats(texts).tolist())
    xz = _kept(out / WORK / "xz.json", lambda: xz_bits_per_byte(training, texts))

    bits = np.array(model["nats"]) / LN2
    rows = _per_document(documents, num_bytes, model, bits, np.array(ngram_nats) / LN2)
    write_jsonl(out / "documents.jsonl", rows)
    total_bytes, total_tokens = int(num_bytes.sum()), sum(model["tokens"])
    bits_per_byte = {
        "model": float(bits.sum()) / total_bytes,
        "ngram": sum(ngram_nats) / LN2 / total_bytes,
        "xz": xz,
    }
    nats_per_token = sum(model["nats"]) / total_tokens
    num_listed = min(config.num_listed, (len(rows) + 1) // 2)  # no document is among the best and the worst
    ranked = sorted(rows, key=lambda row: (row["model_bits_per_byte"], row["id"]))
    return {
        "bits_per_byte": bits_per_byte,
        "beaten": {name: bits_per_byte["model"] < bits_per_byte[name] for name in ("ngram", "xz")},
        "interval": list(ratio_interval(bits, num_bytes, [d.id for d in documents], seed=config.seed)),
        "loss": nats_per_token,
        "perplexity": math.exp(min(nats_per_token, 700.0)),
        "documents": len(documents),
        "bytes": total_bytes,
        "tokens": total_tokens,
        "bytes_per_token": total_bytes / total_tokens,
        "training_documents": len(training),
        "training_bytes": sum(len(text.encode("utf-8", "surrogatepass")) for text in training),
        "protocol": _protocol(model["context_length"], config),
        "best": ranked[:num_listed],
        "worst": ranked[num_listed:][::-1][:num_listed],
    }


def training_texts(folder: Path, max_bytes: int) -> list[str]:
    """The training texts from the first on, until the next one would pass `max_bytes`.

    Raises ValueError when there is none.
    """
    texts: list[str] = []
    size = 0
    for document in read_documents(folder):
        size += len(document.text.encode("utf-8", "surrogatepass"))
        if size > max_bytes and texts:
            break
        texts.append(document.text)
    if not texts:
        raise ValueError(f"{folder}: no training document; the baselines need at least one")
    return texts


def windows(num_tokens: int, context_length: int, overlap: float) -> list[tuple[int, int, int]]:
    """Windows over a document: (start, end, first token scored), each at most `context_length` tokens long.

    Tokens 1, 2, ... are each scored once; past the first window with at least `overlap` of a window before them.

    >>> windows(7, 4, overlap=0.5)
    [(0, 4, 1), (2, 6, 4), (3, 7, 6)]
    """
    if context_length < 2:
        raise ValueError(f"a context of {context_length} tokens predicts nothing")
    advance = min(max(1, round(context_length * (1 - overlap))), context_length - 1)
    found = []
    scored = 1
    end = min(context_length, num_tokens)
    while scored < num_tokens:
        found.append((max(0, end - context_length), end, scored))
        scored, end = end, min(end + advance, num_tokens)
    return found


def document_nats(
    model: "models.LanguageModel", documents: Iterable[Sequence[int]], overlap: float
) -> tuple[list[float], list[int]]:
    """For each token sequence its nats after the first token, and how many tokens these are."""
    from athanor.inference.logprobs import logprobs

    nats: list[float] = []
    counts: list[int] = []
    pending: list[tuple[int, Sequence[int], int]] = []  # document, tokens of the window, scored tokens at its end

    def score() -> None:
        for (i, _, scored), values in zip(pending, logprobs(model, [window for _, window, _ in pending]), strict=True):
            nats[i] -= float(values[len(values) - scored :].double().sum())
        pending.clear()

    for i, tokens in enumerate(documents):
        nats.append(0.0)
        counts.append(len(tokens) - 1)
        for start, end, first in windows(len(tokens), model.config.context_length, overlap):
            pending.append((i, tokens[start:end], end - first))
            if len(pending) == WINDOWS_PER_CALL:
                score()
    score()
    return nats, counts


def _model_nats(config: LanguageModel, folder: Path, texts: Sequence[str]) -> dict[str, Any]:
    tokenizer, model = load(folder, config.threads)
    with progress("held-out documents", len(texts), "documents") as shown:

        def tokens() -> Iterable[list[int]]:
            for text in texts:
                yield [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id]
                shown.advance()

        nats, counts = document_nats(model, tokens(), config.overlap)
    return {"nats": nats, "tokens": counts, "context_length": model.config.context_length}


def _per_document(
    documents: Sequence[Document], num_bytes: Any, model: Mapping[str, Any], bits: Any, ngram_bits: Any
) -> list[dict[str, Any]]:
    return [
        {
            "id": document.id,
            "url": document.url,
            "bytes": int(size),
            "tokens": count,
            "model_bits_per_byte": float(own / size),
            "ngram_bits_per_byte": float(other / size),
        }
        for document, size, count, own, other in zip(
            documents, num_bytes, model["tokens"], bits, ngram_bits, strict=True
        )
    ]


def _protocol(context_length: int, config: LanguageModel) -> str:
    return (
        "every document alone, led by its begin token, its end token predicted too; "
        f"windows of {context_length} tokens, in longer documents overlapping by {config.overlap:.0%}; "
        f"the {config.ngram_order}-gram model meets each document alone as well, xz may look back at all text before"
    )


def _kept(path: Path, compute: Callable[[], Any]) -> Any:
    """What `compute` returned, from `path` where an earlier attempt got so far."""
    if not path.exists():
        write_json(path, compute())
    return read_json(path)

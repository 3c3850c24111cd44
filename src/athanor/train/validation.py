"""Loss, perplexity and bits per byte of a language model on held-out documents.

Every document is scored alone. One longer than the context is read in windows that overlap by half, so
that a token is predicted from at least half a context wherever the document has that much before it. The
beginning-of-text token is given, not predicted; the end-of-text token is predicted and counts.

    loss            nats per predicted token
    perplexity      exp(loss)
    bits_per_byte   loss in bits, times predicted tokens, divided by the UTF-8 bytes of the texts:
                    comparable between tokenizers
"""

# B batch, T positions, N scored positions, D model width
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from athanor.model.attention import segments
from athanor.model.language_model import LanguageModel
from athanor.tokenizer.token_shards import TokenDataset
from athanor.train.loss import token_log_probabilities
from athanor.train.parallel import World, add_numbers

BATCH_TOKENS = 8192  # tokens computed at once


@dataclass(frozen=True)
class Validation:
    """How well a model predicts held-out text."""

    loss: float
    perplexity: float
    bits_per_byte: float
    num_tokens: int
    """Tokens that were predicted."""


@dataclass(frozen=True)
class Window:
    """A piece of a document: tokens `start:end` are read, those from `scored_from` on are predicted."""

    document: int
    start: int
    scored_from: int
    end: int


def windows(dataset: TokenDataset, context_length: int) -> list[Window]:
    """The windows in which the documents of `dataset` are read; every token but the first of a document is scored once.

    A window predicts its tokens from the second on, so it reads one token more than the context is long.
    """
    stride = max(1, context_length // 2)
    found = []
    for document, length in enumerate(dataset.document_lengths.tolist()):
        scored = 1
        while scored < length:
            start = 0 if scored == 1 else scored - 1 - (context_length - stride)
            end = min(length, start + context_length + 1)
            found.append(Window(document, start, scored, end))
            scored = end
    return found


@torch.no_grad()
def validate(
    model: LanguageModel,
    dataset: TokenDataset,
    max_tokens: int | None = None,
    world: World | None = None,
) -> Validation:
    """How well `model` predicts the documents of `dataset`.

    With `max_tokens` only that many tokens are scored, about, in windows spread evenly; bits per byte are
    then those of the sample at the tokens per byte of the whole. Raises ValueError where there is nothing
    to predict.
    """
    world = world or World()
    context_length = model.config.context_length
    chosen = windows(dataset, context_length)
    predicted = dataset.num_tokens - dataset.num_documents
    if not chosen or dataset.num_bytes == 0:
        raise ValueError(f"{dataset.folder}: the validation set holds no text; hold more documents out")
    if max_tokens is not None and predicted > max_tokens:
        chosen = chosen[:: math.ceil(predicted / max_tokens)]
    device = next(model.parameters()).device
    total, count = 0.0, 0
    for batch, counted in _shares(chosen, world):
        tokens = [torch.from_numpy(dataset.document(w.document)[w.start : w.end].astype("int64")) for w in batch]
        hidden = model(
            torch.cat([t[:-1] for t in tokens])[None].to(device), segments([len(t) - 1 for t in tokens], device)
        )
        if not (counted and world.is_last_stage):
            continue
        targets = torch.cat([t[1:] for t in tokens]).to(device)
        scored = torch.cat([torch.arange(w.start + 1, w.end) >= w.scored_from for w in batch]).to(device)
        log_probabilities = token_log_probabilities(
            hidden[0][scored], model.head_weight, targets[scored], model.vocabulary
        )
        total -= float(log_probabilities.sum(dtype=torch.float64))
        count += len(log_probabilities)
    added = add_numbers(torch.tensor([total, count], dtype=torch.float64, device=device), world).tolist()
    loss = added[0] / added[1]
    return Validation(
        loss=loss,
        perplexity=math.exp(min(loss, 700.0)),
        bits_per_byte=loss / math.log(2) * predicted / dataset.num_bytes,
        num_tokens=int(added[1]),
    )


def _shares(chosen: list[Window], world: World) -> Iterator[tuple[list[Window], bool]]:
    """The batches that this process reads, and whether they count.

    Processes that split a model all read as many, so that they meet: some read one again.
    """
    if not world.layout.splits_model:
        yield from ((batch, True) for batch in _batches(chosen[world.rank :: world.size]))
        return
    shares = [list(_batches(chosen[reader :: world.num_readers])) for reader in range(world.num_readers)]
    mine = shares[world.reader]
    yield from ((batch, True) for batch in mine)
    yield from [(shares[0][0], False)] * (max(map(len, shares)) - len(mine))


def _batches(chosen: list[Window]) -> Iterator[list[Window]]:
    batch: list[Window] = []
    size = 0
    for window in chosen:
        if batch and size + window.end - window.start > BATCH_TOKENS:
            yield batch
            batch, size = [], 0
        batch.append(window)
        size += window.end - window.start
    if batch:
        yield batch

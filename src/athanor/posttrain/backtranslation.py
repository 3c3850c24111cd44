"""Instruction data from one's own pages: which instruction would this passage answer? (Li et al. 2023).

In: documents, and an OpenAI-compatible server. Out: `sft.jsonl` and `test.jsonl`, conversations whose answer is a
passage word for word, with the document's id and url and the place of the passage in it; `dropped.jsonl`, every other
passage with the reason; `generations.jsonl`, every answer of the model with its prompt. The paper's two halves: an
instruction is drawn from the passage (self-augmentation, section 2.2), then the pair is rated from 1 to 5 and kept
where the rating is high (self-curation, section 2.3). No answer is written by the model, so none is invented.

Passages are whole paragraphs, chosen by hash. Requests are made in rounds, each answer is on disk before it counts; a
killed run asks for nothing twice and ends with the same rows, and no request is made that could go beyond the limits.
Left out: rewriting passages into the tone of an assistant; training the model that draws instructions.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from athanor.core.artifact import WORK, write_jsonl
from athanor.core.chat_endpoint import ChatClient
from athanor.core.console import progress, say, warn
from athanor.core.documents import Document, read_documents
from athanor.data.synth_store import Generation, Store
from athanor.posttrain.asker import Asker, LimitReached, write_generations
from athanor.posttrain.backtranslation_config import Backtranslation
from athanor.posttrain.novelty import Pool
from athanor.posttrain.splits import CONVERSATION_SPLITS, deal, hashed, write_splits
from athanor.posttrain.task_prompts import one_line

SOURCE = "backtranslation"
NOTHING = "NONE"
RATING_TOKENS = 16
_RATING = re.compile(r"\b([1-5])\b")
_LABEL = re.compile(r"^\W*(?:instruction|request|question)\W*:[\s*]*", re.IGNORECASE)


@dataclass(frozen=True)
class Passage:
    """A stretch of a document."""

    text: str
    document: str
    """Id of the document."""
    url: str
    start: int
    """In characters of the document's text."""

    @property
    def end(self) -> int:
        """After its last character."""
        return self.start + len(self.text)


def run(config: Backtranslation, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Make `config.num_rows` rows; the counts, tokens and cost."""
    if not config.endpoint.model:
        raise ValueError("endpoint.model: name the model, as the server knows it")
    found = chosen_passages(config, inputs["documents"])
    if not found:
        raise ValueError(f"{inputs['documents']}: no passage of at least {config.min_characters} characters in it")
    kept: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    pool = Pool()
    ended = "passages"
    with (
        Store(out / WORK / "generations.jsonl") as store,
        ChatClient(config.endpoint) as client,
        ThreadPoolExecutor(config.endpoint.concurrency) as workers,
        progress("backtranslation", config.num_rows, "rows") as shown,
    ):
        asker = Asker(config, store, client, workers)
        rater = Asker(replace(config, temperature=0.0, top_p=1.0), store, client, workers)
        try:
            waiting = iter(found)
            while part := list(islice(waiting, config.passages_per_round)):
                for row, reason in _round(config, asker, rater, part, pool):
                    (dropped.append({**row, "reason": reason}) if reason else kept.append(row))
                shown.update(min(len(kept), config.num_rows))
                if len(kept) >= config.num_rows:
                    ended = "num_rows"
                    break
        except LimitReached as limit:
            ended = str(limit)
            say(f"backtranslation: stops asking, {limit} is reached")
        numbers = write_generations(store, out)
    made = kept[: config.num_rows]
    if not made:
        raise ValueError(f"no row came of {numbers['requests']} requests; see {out / WORK / 'generations.jsonl'}")
    if len(made) < config.num_rows:
        warn(f"backtranslation: {len(made)} of {config.num_rows} rows made, ended by {ended}")
    rows = [_conversation(row, number) for number, row in enumerate(made)]
    splits = deal(rows, {"sft": 1 - config.test_share, "test": config.test_share}, config.seed, "page")
    write_splits(out, splits, CONVERSATION_SPLITS)
    write_jsonl(out / "dropped.jsonl", dropped)
    return {
        "rows": {name: len(split) for name, split in splits.items()},
        "documents": len({row["document"] for row in made}),
        "passages_asked": len(kept) + len(dropped),
        "passages": len(found),
        "dropped": dict(sorted(Counter(row["reason"] for row in dropped).items())),
        "scores": dict(sorted(Counter(str(row["score"]) for row in [*kept, *dropped] if row["score"]).items())),
        "ended_by": ended,
        **numbers,
    }


def chosen_passages(config: Backtranslation, documents: Path) -> list[Passage]:
    """The passages of all documents in the order of a hash, at most `passages_per_document` of each."""
    found: list[Passage] = []
    for document in read_documents(documents):
        of_document = sorted(
            passages_of(document, config.min_characters, config.max_characters),
            key=lambda passage: hashed(config.seed, "passage", f"{document.id}/{passage.start}"),
        )
        found += of_document[: config.passages_per_document]
    return sorted(found, key=lambda passage: hashed(config.seed, "order", f"{passage.document}/{passage.start}"))


def passages_of(document: Document, min_characters: int, max_characters: int) -> Iterator[Passage]:
    """Whole paragraphs of a document, as many as fit one after another; where no line is empty, lines are paragraphs.

    A paragraph that fits nowhere is left out, and parts its neighbours.
    """
    blocks = re.search(r"\S[ \t]*\n[ \t]*\n[ \t]*\S", document.text) is not None
    pattern = r"\S[^\n]*(?:\n(?![ \t]*\n)[^\n]+)*" if blocks else r"\S[^\n]*"
    start = end = -1
    for match in [*re.finditer(pattern, document.text), None]:
        fits = match is not None and start >= 0 and match.end() - start <= max_characters
        if match is not None and fits:
            end = match.end()
            continue
        if start >= 0 and end - start >= min_characters:
            yield Passage(document.text[start:end], document.id, document.url, start)
        start = end = -1
        if match is not None and match.end() - match.start() <= max_characters:
            start, end = match.span()


def ask_for_instruction(passage: str) -> str:
    """A prompt for the instruction that the passage answers."""
    return (
        "Below is a passage. Write the one request that a person could have made to an assistant for which this "
        "passage, as it stands, is the complete and right answer. Name what it is about, so that the request can be "
        "understood without the passage, and do not mention that there is one. Write only the request, in the language "
        f"of the passage. If no request fits, as it is a list of links, a notice or a fragment, write {NOTHING}.\n\n"
        f"[Passage]\n{passage}\n[End of passage]\n\nRequest:"
    )


def ask_for_rating(instruction: str, passage: str) -> str:
    """A prompt for a number from 1 to 5: how good the passage is as the answer to the instruction."""
    return (
        "Rate from 1 to 5 how well the answer below responds to the request.\n"
        "5: complete, correct, clear, exactly what was asked for, as an expert assistant would write it\n"
        "4: answers the request fully, with small flaws in form\n"
        "3: helpful, but it reads like a piece of something else\n"
        "2: answers a part of it, or much in it is beside the point\n"
        "1: incomplete, vague, about something else, or advertising\n\n"
        f"[Request]\n{instruction}\n\n[Answer]\n{passage}\n[End of answer]\n\nReply with the number alone.\nRating:"
    )


def instruction_in(text: str) -> str | None:
    """The instruction that a model wrote; None where it says that there is none."""
    found = one_line(_LABEL.sub("", text.strip())).strip("\"“”'` ")
    return None if not found or found.strip(".").upper() == NOTHING else found


def rating_in(text: str) -> int | None:
    """The first number from 1 to 5; None where there is none."""
    match = _RATING.search(text)
    return int(match[1]) if match else None


def _round(
    config: Backtranslation, asker: Asker, rater: Asker, part: Sequence[Passage], pool: Pool
) -> Iterator[tuple[dict[str, Any], str]]:
    """The rows of some passages, each with the reason why it is dropped, or none."""
    prompts = [ask_for_instruction(passage.text) for passage in part]
    answers = asker.ask("instruction", prompts, config.max_completion_tokens)
    judged = [_instruction(config, answer, pool) for answer in answers]
    rated: dict[int, Generation | None] = {}
    if config.min_score > 1:
        good = [i for i, (_, reason) in enumerate(judged) if not reason]
        asked = [ask_for_rating(judged[i][0], part[i].text) for i in good]
        rated = dict(zip(good, rater.ask("rating", asked, RATING_TOKENS), strict=True))
    for i, (passage, (instruction, reason)) in enumerate(zip(part, judged, strict=True)):
        score = None
        if not reason and config.min_score > 1:
            answer = rated[i]
            score = None if answer is None else rating_in(answer.text)
            if score is None:
                reason = "no rating"
            elif score < config.min_score:
                reason = f"rated below {config.min_score}"
        yield {"instruction": instruction, "score": score, **asdict(passage), "end": passage.end}, reason


def _instruction(config: Backtranslation, answer: Generation | None, pool: Pool) -> tuple[str, str]:
    """The instruction of an answer, and why it is not wanted; a wanted one joins the pool."""
    if answer is None:
        return "", "no answer"
    found = instruction_in(answer.text)
    if found is None:
        return "", "no request fits the passage"
    if answer.finish_reason == "length":
        return found, "the instruction was cut off"
    words = len(found.split())
    if not config.min_words <= words <= config.max_words:
        return found, f"fewer than {config.min_words} or more than {config.max_words} words"
    if not pool.is_new(found, config.max_similarity):
        return found, "too similar to another"
    pool.add(found)
    return found, ""


def _conversation(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A row with where its answer comes from."""
    return {
        "messages": [
            {"role": "user", "content": row["instruction"]},
            {"role": "assistant", "content": row["text"]},
        ],
        "name": f"{SOURCE}:{hashlib.sha256(row['text'].encode('utf-8', 'replace')).hexdigest()[:12]}",
        "page": row["document"],
        "url": row["url"],
        "source": SOURCE,
        "number": number,
        "document": row["document"],
        "start": row["start"],
        "end": row["end"],
        "score": row["score"],
    }

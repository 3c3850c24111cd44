"""The step that adds rewritten documents from a language model, marked as synthetic.

In: `documents`, and an OpenAI-compatible server (`core/chat_endpoint.py`). Out: `documents/`, every original followed
by what was made of it; `removed/`, answers that are none (empty, too short, cut off at the token limit, a refusal, the
original again); `failed.jsonl`, requests that got no answer. Text rephrased into cleaner styles can make pretraining
several times more efficient (WRAP, Maini et al. 2024).

A synthetic document has the source "synthetic", `metadata.synthetic`, `model`, `prompt` and `parent`, and the URL of
its parent: a page that is held out takes its rewritings with it. Each answer is on disk before it counts, so a
killed run asks only for what is missing. Tokens and cost are counted from what the server says; no request is made
that could go beyond the limits. Put this step before data.quality, so that rewritten documents are scored too.
"""

import hashlib
import heapq
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from athanor.core.artifact import WORK, canonical_json, write_jsonl
from athanor.core.chat_endpoint import Answer, ChatClient, Endpoint, EndpointError
from athanor.core.config import matching_files
from athanor.core.console import progress, say, warn
from athanor.core.documents import Document, Removed, read_shard, write_removed_shard, write_shard
from athanor.data.describe import Description
from athanor.data.folders import required_shards
from athanor.data.origin import draw
from athanor.data.synth_prompts import Prompt, prompts_of
from athanor.data.synth_store import Generation, Store

SOURCE = "synthetic"
CHARACTERS_PER_TOKEN = 3  # a cautious estimate for limits, and for servers that tell no usage
PROMPT_TOKENS = 200  # of the instructions around a document, at most about
IN_A_ROW = 20  # requests without an answer after which the server is taken to be gone
THOUGHTS = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
REFUSAL = re.compile(
    r"\s*(?:I['’]?m sorry|I am sorry|Sorry,|I apologi[sz]e|I can(?:no|['’])t |I am (?:unable|not able)|"
    r"I['’]m (?:unable|not able)|As an AI\b|As a language model|Unfortunately, I )",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Synth:
    """Adds documents rewritten by a language model."""

    endpoint: Endpoint = field(default_factory=Endpoint)
    """The server and its model."""
    styles: tuple[Literal["wikipedia", "textbook", "questions", "summary"], ...] = ("wikipedia",)
    """How documents are rewritten; each chosen one once in every style."""
    prompts: tuple[str, ...] = field(default=(), metadata={"files": True})
    """Prompts of one's own: text files with {text} where the document goes."""
    max_documents: int | None = 1000
    """Rewrite so many documents, drawn by a hash of their ids; null: all."""
    min_characters: int = 200
    """Shorter documents are left alone."""
    max_characters: int = 8000
    """Of longer documents the beginning is sent, up to the last paragraph that fits."""
    max_completion_tokens: int = 2048
    """Longest answer; one that reaches it is cut off and does not count."""
    temperature: float | None = 0.7
    """Of the sampling; null leaves it to the server, as some models demand."""
    min_words: int = 30
    """Answers with fewer words do not count."""
    max_tokens: int | None = None
    """Tokens of prompts and answers together that may be used; null sets no limit."""
    max_cost: float | None = None
    """What may be spent, in the currency of the prices; null sets no limit."""
    price_per_million_prompt_tokens: float = field(default=0.0, metadata={"runtime": True})
    """Price of a million tokens sent."""
    price_per_million_completion_tokens: float = field(default=0.0, metadata={"runtime": True})
    """Price of a million tokens received."""
    seed: int = 0
    """Chooses the documents, and goes to the server with every request."""

    def __post_init__(self) -> None:
        if not self.styles and not self.prompts:
            raise ValueError("give at least one of styles and prompts")
        if min(self.max_characters, self.max_completion_tokens) < 1 or min(self.min_characters, self.min_words) < 0:
            raise ValueError("max_characters and max_completion_tokens must be at least 1, the others not negative")
        prices = (self.price_per_million_prompt_tokens, self.price_per_million_completion_tokens)
        if min(prices) < 0 or (self.max_cost is not None and not any(prices)):
            raise ValueError("max_cost needs the prices per million tokens, which must not be negative")
        if (self.max_documents or 0) < 0 or (self.max_tokens or 0) < 0 or (self.max_cost or 0) < 0:
            raise ValueError("max_documents, max_tokens and max_cost must not be negative")


@dataclass(frozen=True)
class Task:
    """One document to rewrite in one style."""

    key: str
    parent: str
    prompt: Prompt
    text: str
    cut: bool


def run(config: Synth, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Rewrites documents of `inputs["documents"]` and writes them beside the originals; returns what was counted."""
    if not config.endpoint.model:
        raise ValueError("endpoint.model: name the model, as the server knows it")
    prompts = prompts_of(config.styles, matching_files(config.prompts) if config.prompts else ())
    paths = required_shards(inputs["documents"])
    chosen, eligible = _chosen(config, paths)
    failures: list[dict[str, str]] = []
    with Store(out / WORK / "generations.jsonl") as store:
        at_hand = len(store)
        total = len(chosen) * len(prompts)
        tasks = (task for path in paths for task in _tasks(config, prompts, path, chosen))
        limited = _generate(config, tasks, store, total, failures)
        if failures and not len(store):
            raise ValueError(
                f"none of {total} requests to {config.endpoint.url} got an answer, the last: {failures[-1]['problem']}"
            )
        written = [_write(config, prompts, path, chosen, store, out) for path in paths]
        metrics = {
            "documents_in": sum(row["originals"] for row in written),
            "documents_out": sum(row["originals"] + row["synthetic"] for row in written),
            "eligible": eligible,
            "chosen": len(chosen),
            "requests": total,
            "synthetic": sum(row["synthetic"] for row in written),
            "removed": _summed(row["removed"] for row in written),
            "failed": len(failures),
            "not_asked": total - len(store) - len(failures) if limited else 0,
            "stopped_by": limited,
            "at_hand_from_earlier": at_hand,
            "prompt_tokens": store.prompt_tokens,
            "completion_tokens": store.completion_tokens,
            "tokens_estimated_for": sum(row["estimated"] for row in written),
            "cost": round(store.cost, 6),
            "documents_cut": sum(row["cut"] for row in written),
            "bytes_in": sum(row["bytes_in"] for row in written),
            "bytes_out": sum(row["bytes_out"] for row in written),
            "described": Description.of(row["described"] for row in written).metric(),
        }
    write_jsonl(out / "failed.jsonl", failures)
    if failures:
        warn(f"synth: {len(failures)} of {total} requests got no answer; see {out}/failed.jsonl")
    return metrics


def answer_problem(text: str, finish_reason: str, original: str, min_words: int) -> str | None:
    """Why an answer does not count; None for one that does."""
    if not text.strip():
        return "empty answer"
    if finish_reason == "length":
        return "cut off at the token limit"
    if finish_reason == "content_filter":
        return "held back by the server's filter"
    if REFUSAL.match(text) and len(text.split()) < 100:
        return "refusal"
    if len(text.split()) < min_words:
        return f"fewer than {min_words} words"
    if " ".join(text.split()) == " ".join(original.split()):
        return "the original again"
    return None


def without_thoughts(text: str) -> str:
    """An answer without the reasoning that some models put before it.

    >>> without_thoughts("<think>The text is short.</think> Lamps burn.")
    'Lamps burn.'
    """
    return THOUGHTS.sub("", text).strip()


def _chosen(config: Synth, paths: Sequence[Path]) -> tuple[set[str], int]:
    """Ids of the documents to rewrite, and how many are long enough."""
    draws: list[tuple[float, str]] = []
    eligible = 0
    for path in paths:
        rows = [row.id for row in read_shard(path) if len(row.text) >= config.min_characters]
        eligible += len(rows)
        draws += [(draw(config.seed, "synth", name), name) for name in rows]
        if config.max_documents is not None:
            draws = heapq.nsmallest(config.max_documents, draws)
    return {name for _, name in draws}, eligible


def _tasks(config: Synth, prompts: Sequence[Prompt], path: Path, chosen: set[str]) -> Iterator[Task]:
    for document in read_shard(path):
        if document.id in chosen:
            for prompt in prompts:
                yield _task(config, document, prompt)


def _task(config: Synth, document: Document, prompt: Prompt) -> Task:
    text = beginning(document.text, config.max_characters)
    identity = {
        "model": config.endpoint.model,
        "prompt": prompt.sha256,
        "sampling": [config.temperature, config.max_completion_tokens, config.seed],
        "text": text,
        "parent": document.id,
    }
    key = hashlib.sha256(canonical_json(identity)).hexdigest()[:32]
    return Task(key, document.id, prompt, text, cut=len(text) < len(document.text.strip()))


def beginning(text: str, characters: int) -> str:
    """The paragraphs of `text` that fit; of a first one that does not, the lines, and then the characters."""
    text = text.strip()
    if len(text) <= characters:
        return text
    for mark in ("\n\n", "\n", " "):
        end = text.rfind(mark, 0, characters + 1)
        if end > 0:
            return text[:end].rstrip()
    return text[:characters]


def _generate(
    config: Synth, tasks: Iterator[Task], store: Store, total: int, failures: list[dict[str, str]]
) -> str | None:
    """Ask for everything that is missing, as far as the limits allow; which limit ended it."""
    running: dict[Future[Answer], Task] = {}
    limited: str | None = None
    failed_in_a_row = 0
    client = ChatClient(config.endpoint)
    pool = ThreadPoolExecutor(config.endpoint.concurrency)
    with progress("rewrite", total, "answers", done=len(store)) as shown:
        try:
            waiting: Task | None = None  # for answers under way to turn out shorter than they might
            while True:
                while limited is None and len(running) < config.endpoint.concurrency:
                    waiting = waiting or next((task for task in tasks if task.key not in store), None)
                    if waiting is None:
                        break
                    reached = _limit_reached(config, store, [*running.values(), waiting])
                    if reached and running:
                        break
                    if reached:
                        say(f"synth: stops asking, {reached} is reached")
                        limited = reached
                        break
                    running[pool.submit(_ask, config, client, waiting)] = waiting
                    waiting = None
                if not running:
                    return limited
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    task = running.pop(future)
                    try:
                        store.add(_generation(config, task, future.result()))
                        failed_in_a_row = 0
                    except EndpointError as error:
                        failures.append({"id": task.parent, "prompt": task.prompt.name, "problem": str(error)})
                        failed_in_a_row += 1
                    shown.advance()
                if failed_in_a_row >= IN_A_ROW:
                    raise ValueError(
                        f"{IN_A_ROW} requests in a row got no answer, the last: {failures[-1]['problem']}; "
                        f"{len(store)} answers are kept, run the step again when the server is back"
                    )
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            client.close()


def _ask(config: Synth, client: ChatClient, task: Task) -> Answer:
    return client.ask(
        task.prompt.messages(task.text),
        config.max_completion_tokens,
        config.seed,
        temperature=config.temperature,
    )


def _limit_reached(config: Synth, store: Store, tasks: Sequence[Task]) -> str | None:
    """The limit that the answers at hand and those of `tasks`, at their longest, could go beyond."""
    prompt = sum(len(task.text) // CHARACTERS_PER_TOKEN + PROMPT_TOKENS for task in tasks)
    completion = len(tasks) * config.max_completion_tokens
    tokens = store.prompt_tokens + store.completion_tokens + prompt + completion
    if config.max_tokens is not None and tokens > config.max_tokens:
        return "max_tokens"
    if config.max_cost is not None and store.cost + _cost(config, prompt, completion) > config.max_cost:
        return "max_cost"
    return None


def _cost(config: Synth, prompt_tokens: int, completion_tokens: int) -> float:
    sent = prompt_tokens * config.price_per_million_prompt_tokens
    return (sent + completion_tokens * config.price_per_million_completion_tokens) / 1e6


def _generation(config: Synth, task: Task, answer: Answer) -> Generation:
    counted = answer.prompt_tokens is not None and answer.completion_tokens is not None
    asked = sum(len(message["content"]) for message in task.prompt.messages(task.text))
    sent = answer.prompt_tokens if answer.prompt_tokens is not None else asked // CHARACTERS_PER_TOKEN
    received = answer.completion_tokens
    received = len(answer.text) // CHARACTERS_PER_TOKEN if received is None else received
    return Generation(
        key=task.key,
        parent=task.parent,
        prompt=task.prompt.name,
        text=answer.text,
        finish_reason=answer.finish_reason,
        prompt_tokens=sent,
        completion_tokens=received,
        counted=counted,
        cost=_cost(config, sent, received),
        attempts=answer.attempts,
        cut=task.cut,
    )


def _write(
    config: Synth, prompts: Sequence[Prompt], path: Path, chosen: set[str], store: Store, out: Path
) -> dict[str, Any]:
    """Write one shard: every original, and what was made of it; the counts."""
    documents: list[Document] = []
    removed: list[Removed] = []
    described = Description()
    counts: Counter[str] = Counter()
    for original in read_shard(path):
        documents.append(original)
        described.add(original)
        counts.update(originals=1, bytes_in=len(original.text.encode("utf-8", "surrogatepass")))
        for prompt in prompts if original.id in chosen else ():
            task = _task(config, original, prompt)
            generation = store.get(task.key)
            if generation is None:
                continue
            made = _document(config, original, prompt, generation)
            counts.update(estimated=not generation.counted, cut=generation.cut)
            problem = answer_problem(made.text, generation.finish_reason, task.text, config.min_words)
            if problem:
                removed.append(Removed(made, "synth", problem))
            else:
                documents.append(made)
                described.add(made)
                counts.update(synthetic=1)
    write_shard(out / "documents" / path.name, documents)
    write_removed_shard(out / "removed" / path.name, removed)
    names = ("originals", "synthetic", "estimated", "cut", "bytes_in")
    return {
        **{name: counts[name] for name in names},
        "bytes_out": described.bytes,
        "removed": Counter(f"{row.removed_by}: {row.reason}" for row in removed),
        "described": described.counts(),
    }


def _document(config: Synth, original: Document, prompt: Prompt, generation: Generation) -> Document:
    metadata: dict[str, Any] = {
        "synthetic": True,
        "model": config.endpoint.model,
        "prompt": prompt.name,
        "prompt_sha256": prompt.sha256,
        "parent": original.id,
    }
    if "domain" in original.metadata:
        metadata["domain"] = original.metadata["domain"]
    if generation.cut:
        metadata["parent_cut"] = True
    return Document(
        id=generation.key[:16],
        url=original.url,
        text=without_thoughts(generation.text),
        source=SOURCE,
        date=original.date,
        language=original.language,
        metadata=metadata,
    )


def _summed(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))

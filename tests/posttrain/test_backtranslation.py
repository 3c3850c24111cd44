"""Instructions for one's own pages: the answer is the page, word for word, and only good pairs stay."""

import threading
from pathlib import Path
from typing import Any

import pytest

from athanor.core.artifact import read_jsonl
from athanor.core.chat_endpoint import Endpoint
from athanor.core.documents import Document, write_shard
from athanor.posttrain.backtranslation import instruction_in, passages_of, rating_in, run
from athanor.posttrain.backtranslation_config import Backtranslation
from athanor.posttrain.conversation_formats import messages_of

from ..core.chat_server import Reply, chat_server

TOPICS = [
    "harbours",
    "mountain passes",
    "old clocks",
    "bee keeping",
    "tidal mills",
    "slate roofs",
    "wooden ships",
    "salt",
]


def document(number: int) -> Document:
    about = TOPICS[number]
    first = f"This page tells of {about}. " + f"Every sentence here is about {about} and nothing else. " * 4
    text = f"{first.strip()}\n\nShort.\n\n{'x' * 900}\n\n{first[::-1].strip()}"
    return Document(f"doc{number}", f"http://x/{number}", text)


class Model:
    """A server's brain: it asks for the topic, rates most pairs well, and finds nothing to ask in some."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, request: dict[str, Any]) -> Reply:
        prompt = request["messages"][0]["content"]
        with self.lock:
            self.prompts.append(prompt)
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        topic = next((name for name in TOPICS if name in prompt), None)
        if prompt.endswith("Rating:"):
            return Reply("Rating: 2" if topic == "salt" else " 5.", usage=usage)
        if topic is None:
            return Reply("NONE", usage=usage)
        distinct = " ".join(f"{word}{TOPICS.index(topic)}" for word in ("harsh", "plain", "deep", "old"))
        return Reply(f'Instruction: "Tell of {topic}: {distinct}."', usage=usage)


def config(url: str, **settings: Any) -> Backtranslation:
    endpoint = Endpoint(model="small", url=url, concurrency=3, attempts=2, pause_seconds=0.0)
    defaults = {"num_rows": 20, "passages_per_document": 3, "max_characters": 600, "passages_per_round": 4}
    return Backtranslation(endpoint=endpoint, **{**defaults, **settings})


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    write_shard(folder / "00000.parquet", [document(i) for i in range(len(TOPICS))])
    return folder


def test_answers_are_passages_of_the_page_and_bad_pairs_are_listed(documents: Path, tmp_path: Path) -> None:
    model = Model()
    with chat_server(model) as server:
        metrics = run(config(server.url), {"documents": documents}, tmp_path / "out")
        asked = len(model.prompts)
        again = run(config(server.url), {"documents": documents}, tmp_path / "out")
    assert again == metrics
    assert len(model.prompts) == asked  # nothing is asked for twice
    rows = [row for name in ("sft", "test") for row in read_jsonl(tmp_path / "out" / f"{name}.jsonl")]
    assert len(rows) == len(TOPICS) - 1 == metrics["documents"]
    texts = {f"doc{i}": document(i).text for i in range(len(TOPICS))}
    for row in rows:
        asked_for, answer = (message["content"] for message in messages_of(row))
        assert answer == texts[row["document"]][row["start"] : row["end"]]
        assert asked_for.startswith("Tell of ")
        assert (row["score"], row["page"]) == (5, row["document"])
    reasons = {row["reason"] for row in read_jsonl(tmp_path / "out" / "dropped.jsonl")}
    assert reasons == {"no request fits the passage", "rated below 4"}
    generations = list(read_jsonl(tmp_path / "out" / "generations.jsonl"))
    assert metrics["requests"] == len(generations) == asked
    assert metrics["prompt_tokens"] == 100 * asked
    assert all(row["prompt"] for row in generations)


def test_no_request_goes_beyond_the_limit(documents: Path, tmp_path: Path) -> None:
    with chat_server(Model()) as server:
        settings = config(server.url, max_tokens=2500, passages_per_round=2)
        metrics = run(settings, {"documents": documents}, tmp_path / "out")
    assert metrics["ended_by"] == "max_tokens"
    assert metrics["prompt_tokens"] + metrics["completion_tokens"] <= 2500


def test_passages_are_whole_paragraphs_that_fit() -> None:
    text = "Aa aa.\n\nBb bb\nbb.\n \n" + "c" * 50 + "\n\nDd.\n\nEe."
    found = list(passages_of(Document("d", "u", text), 3, 20))
    assert [passage.text for passage in found] == ["Aa aa.\n\nBb bb\nbb.", "Dd.\n\nEe."]
    assert all(text[passage.start : passage.end] == passage.text for passage in found)
    assert [passage.text for passage in passages_of(Document("d", "u", "Aa.\nBb.\nCc."), 3, 7)] == ["Aa.\nBb.", "Cc."]
    assert list(passages_of(Document("d", "u", text), 21, 30)) == []


def test_what_a_model_writes_is_read_with_its_habits() -> None:
    assert instruction_in(' **Request:** "Explain tides.\nPlease." ') == "Explain tides. Please."
    assert instruction_in("NONE.") is None
    assert instruction_in("") is None
    assert [rating_in(text) for text in ("5", "Rating: 4/5", "**3**", "none", "10")] == [5, 4, 3, None, None]

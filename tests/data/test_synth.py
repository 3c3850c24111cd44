"""Promises of data/synth.py, against a server on this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = str(Path(__file__).parents[1] / "core")
if HERE not in sys.path:
    sys.path.insert(0, HERE)

from chat_server import Reply, chat_server  # noqa: E402

from athanor.core.artifact import read_jsonl  # noqa: E402
from athanor.core.chat_endpoint import Endpoint, EndpointRefused  # noqa: E402
from athanor.core.documents import Document, read_documents, read_removed, shard_name, write_shard  # noqa: E402
from athanor.data import mixture, synth  # noqa: E402
from athanor.data.mixture import Mixture  # noqa: E402
from athanor.data.origin import page_of  # noqa: E402
from athanor.data.synth import Synth, answer_problem, beginning  # noqa: E402
from athanor.data.synth_store import Generation, Store  # noqa: E402

USAGE = {"prompt_tokens": 100, "completion_tokens": 50}


def documents(number: int) -> list[Document]:
    return [
        Document(f"d{i:02d}", f"https://a.org/{i}", f"Page {i} tells of lamps. " * 20, "web", "2026", "en")
        for i in range(number)
    ]


def rewritten(request: dict[str, Any]) -> Reply:
    """A good answer that names the page it was made from."""
    page = request["messages"][1]["content"].rpartition("Page ")[2].split()[0]
    return Reply(f"Rewritten {page}. " + "The lamps of this page burn with an even flame. " * 5, usage=USAGE)


def run(
    folder: Path,
    rows: Sequence[Document],
    reply: Callable[[dict[str, Any]], Reply] = rewritten,
    per_shard: int = 4,
    endpoint: dict[str, Any] | None = None,
    **settings: Any,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Metrics, and the requests that the server saw."""
    for i in range(0, len(rows), per_shard):
        write_shard(folder / "in" / "documents" / shard_name(i // per_shard), rows[i : i + per_shard])
    with chat_server(reply) as server:
        where = Endpoint("tiny", server.url, pause_seconds=0.01, **(endpoint or {}))
        metrics = synth.run(Synth(where, **settings), {"documents": folder / "in"}, folder / "out")
    return metrics, server.requests


def made(folder: Path) -> list[Document]:
    return [row for row in read_documents(folder / "out" / "documents") if row.source == "synthetic"]


def test_originals_stay_and_what_was_made_is_marked(tmp_path: Path) -> None:
    rows = documents(6)
    metrics, requests = run(tmp_path, rows, styles=("wikipedia", "questions"))
    written = list(read_documents(tmp_path / "out" / "documents"))
    assert [row for row in written if row.source == "web"] == rows
    assert Counter((row.metadata["parent"], row.metadata["prompt"]) for row in made(tmp_path)) == Counter(
        (row.id, style) for row in rows for style in ("wikipedia", "questions")
    )
    first = made(tmp_path)[0]
    assert first.metadata["synthetic"] is True and first.metadata["model"] == "tiny"
    assert (first.url, first.language) == ("https://a.org/0", "en")
    assert first.text.startswith("Rewritten 0.")
    assert written.index(first) == 1
    assert len(requests) == 12 == metrics["synthetic"]
    assert (metrics["prompt_tokens"], metrics["completion_tokens"]) == (1200, 600)
    assert all("Page" in request["messages"][1]["content"] for request in requests)
    assert {request["max_tokens"] for request in requests} == {2048}


def test_prompts_of_ones_own(tmp_path: Path) -> None:
    prompt = tmp_path / "riddle.txt"
    prompt.write_text("Make a riddle of this: {text} Thank you.")
    _, requests = run(tmp_path, documents(1), styles=(), prompts=(str(prompt),))
    assert requests[0]["messages"][1]["content"] == f"Make a riddle of this: {documents(1)[0].text.strip()} Thank you."
    assert made(tmp_path)[0].metadata["prompt"] == "riddle"
    prompt.write_text("no place")
    with pytest.raises(ValueError, match=r"riddle\.txt: no \{text\} in it"):
        run(tmp_path / "bad", documents(1), styles=(), prompts=(str(prompt),))


def test_bad_answers_are_counted_and_listed(tmp_path: Path) -> None:
    rows = documents(6)
    answers = {
        "0": Reply(""),
        "1": Reply("Too short."),
        "2": Reply("I'm sorry, but I cannot help with that request. " * 3),
        "3": Reply("The lamps burn " * 20, finish_reason="length"),
        "4": Reply(rows[4].text),
        "5": Reply("<think>The user wants lamps.\nFine.</think>\n\n" + "The lamps burn well. " * 20),
    }
    metrics, _ = run(tmp_path, rows, lambda r: answers.get(page_asked(r)) or rewritten(r))
    assert [row.text[:15] for row in made(tmp_path)] == ["The lamps burn "]
    assert metrics["synthetic"] == 1
    reasons = {row.document.metadata["parent"]: row.reason for row in read_removed(tmp_path / "out" / "removed")}
    assert reasons == {
        "d00": "empty answer",
        "d01": "fewer than 30 words",
        "d02": "refusal",
        "d03": "cut off at the token limit",
        "d04": "the original again",
    }
    assert metrics["removed"]["synth: refusal"] == 1
    assert metrics["tokens_estimated_for"] == 6


def page_asked(request: dict[str, Any]) -> str:
    return str(request["messages"][1]["content"].rpartition("Page ")[2].split()[0])


def test_a_server_that_answers_nothing_is_an_error_and_the_next_attempt_asks_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none of 3 requests to .* got an answer, the last: 400, no such model"):
        run(tmp_path, documents(3), lambda request: Reply(status=400, body=b"no such model"))
    metrics, _ = run(tmp_path, documents(3))
    assert (metrics["synthetic"], metrics["failed"]) == (3, 0)


def test_what_gets_no_answer_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    def reply(request: dict[str, Any]) -> Reply:
        return Reply(status=400, body=b"context too long") if page_asked(request) == "2" else rewritten(request)

    metrics, _ = run(tmp_path, documents(5), reply)
    assert (metrics["synthetic"], metrics["failed"]) == (4, 1)
    (row,) = read_jsonl(tmp_path / "out" / "failed.jsonl")
    assert row == {"id": "d02", "prompt": "wikipedia", "problem": "400, context too long"}


def test_a_server_that_has_gone_stops_the_step_and_what_there_is_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synth, "IN_A_ROW", 3)
    seen: list[str] = []

    def dying(request: dict[str, Any]) -> Reply:
        seen.append(page_asked(request))
        return rewritten(request) if len(seen) <= 4 else Reply(status=500)

    one_by_one = {"concurrency": 1, "attempts": 2}
    with pytest.raises(ValueError, match=r"3 requests in a row got no answer, the last: .*500.*; 4 answers are kept"):
        run(tmp_path, documents(12), dying, endpoint=one_by_one)
    metrics, requests = run(tmp_path, documents(12), endpoint=one_by_one)
    assert len(requests) == 8 and not {page_asked(r) for r in requests} & set(seen[:4])
    assert metrics["at_hand_from_earlier"] == 4 and metrics["synthetic"] == 12


@pytest.mark.slow
def test_a_killed_run_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    rows = documents(20)
    for i in range(0, 20, 5):
        write_shard(tmp_path / "in" / "documents" / shard_name(i // 5), rows[i : i + 5])
    script = (
        "import sys; from pathlib import Path; from athanor.data import synth; from athanor.data.synth import Synth\n"
        "from athanor.core.chat_endpoint import Endpoint\n"
        "synth.run(Synth(Endpoint('tiny', sys.argv[1], concurrency=2)), {'documents': Path('in')}, Path('out'))\n"
    )

    def slow(request: dict[str, Any]) -> Reply:
        answer = rewritten(request)
        answer.wait_seconds = 0.1
        return answer

    kept = tmp_path / "out" / "_work" / "generations.jsonl"
    with chat_server(slow) as server:
        process = subprocess.Popen([sys.executable, "-c", script, server.url], cwd=tmp_path, env=dict(os.environ))
        while not kept.exists() or kept.read_bytes().count(b"\n") < 5:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with kept.open("ab") as file:
        file.write(b'{"key": "torn')
    stored = [json.loads(line)["parent"] for line in kept.read_text().splitlines()[:-1]]
    metrics, requests = run(tmp_path, rows, per_shard=5)
    assert Counter(f"d{int(page_asked(r)):02d}" for r in requests) == Counter({r.id for r in rows} - set(stored))
    assert metrics["synthetic"] == 20 and metrics["prompt_tokens"] == 2000
    assert len(read_lines(kept)) == 20


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_no_request_is_made_that_could_go_beyond_the_limits(tmp_path: Path) -> None:
    """An answer takes 150 tokens but might take 450: the last are asked for one at a time, and 1,500 allow eight."""
    prices = {"price_per_million_prompt_tokens": 10.0, "price_per_million_completion_tokens": 20.0}
    metrics, requests = run(tmp_path / "tokens", documents(20), max_tokens=1500, max_completion_tokens=100)
    used = metrics["prompt_tokens"] + metrics["completion_tokens"]
    assert used <= 1500 and metrics["stopped_by"] == "max_tokens"
    assert metrics["not_asked"] == 20 - len(requests) and len(requests) in (7, 8)
    metrics, requests = run(tmp_path / "cost", documents(20), max_cost=0.02, max_completion_tokens=100, **prices)
    assert metrics["cost"] == pytest.approx(len(requests) * (100 * 10 + 50 * 20) / 1e6)
    assert metrics["cost"] <= 0.02 and metrics["stopped_by"] == "max_cost" and len(requests) >= 5
    assert len(list(read_documents(tmp_path / "cost" / "out" / "documents"))) == 20 + len(requests)


def test_documents_are_drawn_by_the_seed_and_long_ones_cut_at_paragraphs(tmp_path: Path) -> None:
    rows = [*documents(10), Document("short", "https://a.org/s", "short")]
    metrics, requests = run(tmp_path / "a", rows, max_documents=3)
    _, again = run(tmp_path / "b", rows, max_documents=3)
    assert sorted(map(page_asked, requests)) == sorted(map(page_asked, again))
    assert (metrics["eligible"], metrics["chosen"]) == (10, 3)
    text = "one two\n\nthree four\n\nfive"
    assert beginning(text, 100) == text
    assert beginning(text, 20) == "one two\n\nthree four"
    assert beginning("one two three", 8) == "one two"
    assert beginning("abcdef", 3) == "abc"
    metrics, requests = run(tmp_path / "c", documents(1), max_characters=100)
    assert metrics["documents_cut"] == 1 and made(tmp_path / "c")[0].metadata["parent_cut"] is True


def test_a_held_out_page_takes_its_rewritings_with_it(tmp_path: Path) -> None:
    rows = [*documents(12), *(Document(f"n{i}", "", f"Page n{i} has no address. " * 20) for i in range(12))]
    run(tmp_path, rows)
    mixed = Mixture(high_quality_share=0, validation_share=0.3)
    mixture.run(mixed, {"documents": tmp_path / "out"}, tmp_path / "mixed")
    sides = {part: list(read_documents(tmp_path / "mixed" / part)) for part in ("train", "validation")}
    assert all(any(row.source == "synthetic" for row in side) for side in sides.values())
    assert not {page_of(row) for row in sides["train"]} & {page_of(row) for row in sides["validation"]}


def test_the_key_is_in_no_file_and_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TINY_KEY", "sk-very-secret")
    leaky = {"1": Reply(status=500, body=b"sk-very-secret"), "2": Reply(status=400, body=b"not sk-very-secret")}
    run(
        tmp_path,
        documents(4),
        lambda request: leaky.get(page_asked(request)) or rewritten(request),
        endpoint={"api_key_variable": "TINY_KEY", "attempts": 2},
    )
    with pytest.raises(EndpointRefused) as refused:
        run(
            tmp_path / "refused",
            documents(4),
            lambda _: Reply(status=401, body=b"sk-very-secret"),
            endpoint={"api_key_variable": "TINY_KEY"},
        )
    said = capfd.readouterr()
    assert "secret" not in str(refused.value) + said.out + said.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not [path for path in files if b"very-secret" in path.read_bytes()]


def test_answers_are_judged_by_what_they_say() -> None:
    good = "The lamps burn with an even flame. " * 10
    assert answer_problem(good, "stop", "original", 30) is None
    assert answer_problem("I can't rewrite this text.", "stop", "original", 3) == "refusal"
    assert answer_problem("As an AI language model I do not", "stop", "o", 3) == "refusal"
    assert answer_problem("I can not only walk but run", "stop", "o", 3) is None
    assert answer_problem(good, "content_filter", "o", 3) == "held back by the server's filter"


def test_a_store_gives_back_what_was_added(tmp_path: Path) -> None:
    one = Generation("k1", "p", "wikipedia", "täxt\n\u2028 line", "stop", 3, 4, True, 0.5, 1, False)
    two = Generation("k2", "p", "wikipedia", "", "length", 1, 1, False, 0.25, 2, True)
    with Store(tmp_path / "s.jsonl") as store:
        store.add(one)
        store.add(two)
        assert store.get("k1") == one and store.get("k3") is None
    with Store(tmp_path / "s.jsonl") as again:
        assert again.get("k2") == two and len(again) == 2
        assert (again.prompt_tokens, again.completion_tokens, again.cost) == (4, 5, 0.75)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"styles": ()}, "at least one of styles and prompts"),
        ({"max_cost": 1.0}, "max_cost needs the prices"),
        ({"max_documents": -1}, "must not be negative"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Synth(**wrong)


def test_a_model_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"endpoint\.model"):
        synth.run(Synth(), {"documents": tmp_path}, tmp_path / "out")

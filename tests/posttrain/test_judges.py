"""Judges other than a reward model: functions, verifiers, servers; and how each of them can be wrong."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from athanor.posttrain import judges, sandbox
from athanor.posttrain.config import Reward
from athanor.posttrain.judges import checked_scores, judge_of
from athanor.posttrain.reward_endpoint import endpoint_rewards
from athanor.posttrain.sandbox import runs_through
from athanor.posttrain.verifiers import code_of, exact_answer_reward, unit_test_rewards


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("3 apples and 2 more make 5.", "She has 5. #### 5", True),
        ("#### 1,250", "#### 1250.00", True),
        (r"so \boxed{42}", "#### 42", True),
        ("First 7. #### 5", "#### 7", False),
        ("#### -0.50", "-.5", True),
        ("Paris.", "paris", True),
        ("", "", False),
        ("no number", "#### 3", False),
    ],
)
def test_final_answers_are_compared_as_gsm8k_does(answer: str, reference: str, right: bool) -> None:
    assert exact_answer_reward(answer, reference) == float(right)


def test_stored_solutions_of_gsm8k_are_judged_as_published(fidelity: Path) -> None:
    path = fidelity / "evaluation" / "gsm8k" / "example_model_solutions.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    systems = {key: value for key, value in rows[0].items() if isinstance(value, dict) and "is_correct" in value}
    assert systems
    for name in systems:
        ours = [exact_answer_reward(row[name]["solution"], row["ground_truth"]) for row in rows]
        theirs = [float(row[name]["is_correct"]) for row in rows]
        agree = sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(rows)
        assert agree > 0.99, (name, agree)


def test_code_passes_its_tests_or_not() -> None:
    answer = "Here it is:\n```python\ndef add(a, b):\n    return a + b\n```\nDone."
    assert code_of(answer).strip().endswith("return a + b")
    assert unit_test_rewards([answer, "def add(a, b): return a"], ["assert add(1, 2) == 3"] * 2, 10.0, 256) == [
        1.0,
        0.0,
    ]


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "x = bytearray(1 << 34)",
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "open('f', 'w').write('x' * (1 << 24))",
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "raise ValueError",
    ],
)
def test_what_breaks_a_limit_or_leaves_early_is_no_pass(code: str) -> None:
    started = time.monotonic()
    assert not runs_through(code, timeout_seconds=2.0, memory_mb=256)
    assert time.monotonic() - started < 60.0  # it ends, however loaded the machine


def test_a_sandbox_that_cannot_run_anything_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.sys, "executable", "/bin/false")
    with pytest.raises(ValueError, match="an empty program does not end within"):
        runs_through("pass", timeout_seconds=5.0, memory_mb=333)  # a limit whose check no other test has done


def test_a_judge_must_give_one_finite_number_for_each_answer() -> None:
    assert checked_scores([1, 2.5], ["a", "b"]).tolist() == [1.0, 2.5]
    with pytest.raises(ValueError, match="1 numbers for 2 answers"):
        checked_scores([1.0], ["a", "b"])
    with pytest.raises(ValueError, match="gives nan to 'b', not a finite number"):
        checked_scores([1.0, float("nan")], ["a", "b"])
    with pytest.raises(ValueError, match="not a list of numbers"):
        checked_scores(["good"], ["a"])


def test_settings_and_inputs_that_a_judge_does_not_use_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the input reward_model"):
        judge_of(Reward(), {})
    with pytest.raises(ValueError, match="reward_model is not used by the reward 'exact_answer'"):
        judge_of(Reward(kind="exact_answer"), {"reward_model": tmp_path})
    with pytest.raises(ValueError, match="url is not used by the reward 'model'"):
        Reward(url="http://127.0.0.1:1/")
    with pytest.raises(ValueError, match="'function' needs function"):
        Reward(kind="function")
    with pytest.raises(ValueError, match="expected http"):
        Reward(kind="endpoint", url="ftp://x/")
    with pytest.raises(ValueError, match="No module named 'no_such_module'"):
        judge_of(Reward(kind="function", function="no_such_module:f"), {})
    with pytest.raises(ValueError, match="no 'tests' to run"):
        judges.tests_of({"messages": []})


def test_a_function_of_ones_own_judges(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "my_rewards.py").write_text(
        "def length(prompts, answers, rows):\n    return [len(a) + r['bonus'] for a, r in zip(answers, rows)]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    judge = judge_of(Reward(kind="function", function="my_rewards:length"), {})
    assert callable(judge)
    assert judge([[], []], ["ab", "c"], [{"bonus": 1}, {"bonus": 0}]) == [3, 1]


@contextmanager
def serving(answer: Callable[[dict[str, Any], int], tuple[int, bytes]]) -> Iterator[str]:
    """A server whose `answer(body, number of the request)` gives status and content."""
    seen = [0]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen[0] += 1
            status, content = answer(body, seen[0])
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/rewards"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def asked(url: str, count: int = 3, **settings: Any) -> list[float]:
    config = Reward(kind="endpoint", url=url, **({"batch_size": 2, "timeout_seconds": 30.0} | settings))
    answers = [f"answer {i}" for i in range(count)]
    return endpoint_rewards(config, [[]] * count, answers, [{}] * count, sleep=lambda seconds: None)


def test_a_server_judges_batch_after_batch() -> None:
    def lengths(body: dict[str, Any], number: int) -> tuple[int, bytes]:
        assert set(body) == {"prompts", "completions", "rows"}
        return 200, json.dumps({"rewards": [float(text[-1]) for text in body["completions"]]}).encode()

    with serving(lengths) as url:
        assert asked(url) == [0.0, 1.0, 2.0]


def test_a_busy_server_is_asked_again() -> None:
    with serving(lambda body, number: (503, b"busy") if number == 1 else (200, b"[1, 2, 3]")) as url:
        assert asked(url, batch_size=8) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("status", "content", "said"),
    [
        (200, b"[1.0]", "1 rewards for 2 answers"),
        (200, b"[1.0, NaN]", "reward 1 of 2 is nan, not a finite number"),
        (200, b'[1.0, "2"]', "reward 1 of 2 is '2'"),
        (200, b"<html>", "the answer is no JSON: <html>"),
        (200, b'{"scores": []}', "expected {'rewards'"),
        (404, b"nothing here", "status 404: nothing here; asked 1 times"),
        (500, b"broken", "status 500: broken; asked 3 times"),
    ],
)
def test_a_server_that_lies_or_fails_is_told(status: int, content: bytes, said: str) -> None:
    with serving(lambda body, number: (status, content)) as url, pytest.raises(ValueError, match=said):
        asked(url, 2)


def test_a_server_that_does_not_answer_in_time_is_told() -> None:
    done = threading.Event()

    def late(body: dict[str, Any], number: int) -> tuple[int, bytes]:
        done.wait(5.0)
        return 200, b"[]"

    with serving(late) as url:
        try:
            with pytest.raises(ValueError, match=r"no whole answer \(0\.2 seconds are allowed.*asked 1 times"):
                asked(url, 2, timeout_seconds=0.2, attempts=1)
        finally:
            done.set()


def test_an_answer_shorter_than_its_header_says_is_told_as_broken_off() -> None:
    class Liar(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "500")
            self.end_headers()
            self.wfile.write(b'{"rewards": [1, 1]}')

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Liar)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        with pytest.raises(ValueError, match=r"no whole answer .*received 19 bytes, expected 500.*asked 2 times"):
            asked(f"http://127.0.0.1:{server.server_port}/", 2, attempts=2)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

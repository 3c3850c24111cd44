"""Tasks come from what a server says, in an order that a kill does not change, and only good ones count."""

import threading
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from athanor.core.artifact import read_jsonl
from athanor.core.chat_endpoint import Endpoint
from athanor.posttrain import task_prompts
from athanor.posttrain.novelty import Pool, rouge_l
from athanor.posttrain.self_instruct import run, seed_tasks
from athanor.posttrain.self_instruct_config import SelfInstruct
from athanor.posttrain.task_prompts import Task

from ..core.chat_server import Reply, chat_server

VERBS = ["describe", "compare", "count", "rename", "order", "explain", "translate", "shorten", "question", "praise"]
THINGS = ["rivers", "engines", "poems", "markets", "winters", "bridges", "teachers", "clocks", "gardens", "islands"]


def instruction(number: int) -> str:
    ending = [f"number{number}", f"with{number % 7}", f"style{number % 13}"]
    return " ".join([VERBS[number % 10], THINGS[number // 10 % 10], *ending]).capitalize()


class Model:
    """A server's brain: new tasks at every request, some of them bad."""

    def __init__(self) -> None:
        self.made = 0
        self.lock = threading.Lock()

    def __call__(self, request: dict[str, Any]) -> Reply:
        prompt = request["messages"][0]["content"]
        usage = {"prompt_tokens": 100, "completion_tokens": 50}
        seed = zlib.crc32(prompt.encode()) % 997  # the same prompt, the same answer
        if "one line each" in prompt:
            lines = [f"{instruction(seed + i)}" for i in range(3)]
            return Reply(f" {lines[0]}\n6. {lines[1]}\n7. {lines[2]}", usage=usage)
        if "yes or no" in prompt:
            return Reply("Yes." if "count" in prompt.lower() else "No", usage=usage)
        if prompt.endswith("Label:"):
            return Reply(" Seven\nInput: a b c d e f g", usage=usage)
        if prompt.endswith("Input:"):
            return Reply(" (none)\nOutput: As you wish.", usage=usage)
        tasks = [Task(instruction(seed + i), "" if i % 2 else f"input {i}", f"output {seed + i}") for i in range(3)]
        tasks += [Task("Draw a picture of a small house", "", "house"), Task("Too short", "", "x"), tasks[0]]
        tasks += [Task(instruction(seed + 900), "", "")]
        text = "\n\n".join(f"Task {i}\n{task_prompts.as_text(task)}" for i, task in enumerate(tasks, start=5))
        return Reply(text.removeprefix("Task 5\n"), usage=usage)


def config(url: str, **settings: Any) -> SelfInstruct:
    endpoint = Endpoint(model="small", url=url, concurrency=3, attempts=2, pause_seconds=0.0)
    return SelfInstruct(endpoint=endpoint, **{"num_tasks": 12, "requests_per_round": 2, **settings})


@pytest.mark.parametrize("method", ["alpaca", "self_instruct"])
def test_tasks_are_new_and_every_drop_has_a_reason(tmp_path: Path, method: Any) -> None:
    with chat_server(Model()) as server:
        metrics = run(config(server.url, method=method), {}, tmp_path)
    tasks = list(read_jsonl(tmp_path / "tasks.jsonl"))
    assert len(tasks) == metrics["tasks"] == 12
    earlier = [task.instruction for task in seed_tasks(SelfInstruct())]
    for task in tasks:
        assert all(rouge_l(text, task["instruction"]) <= 0.7 for text in earlier)
        best = max(rouge_l(text, task["instruction"]) for text in earlier)
        assert task["similarity"] == pytest.approx(best, abs=1e-4)
        earlier.append(task["instruction"])
    if method == "alpaca":
        reasons = {"the word draw", "fewer than 4 words", "too similar to another", "cannot be read"}
        assert set(metrics["dropped"]) == reasons
    else:
        counted = [task for task in tasks if task["instruction"].lower().startswith("count")]
        assert all((task["input"], task["output"]) == ("a b c d e f g", "Seven") for task in counted)
        assert all(task["output"] == "As you wish." for task in tasks if task not in counted)
    rows = [row for name in ("sft", "test") for row in read_jsonl(tmp_path / f"{name}.jsonl")]
    assert {row["messages"][1]["content"] for row in rows} == {task["output"] for task in tasks}
    generations = list(read_jsonl(tmp_path / "generations.jsonl"))
    assert len(generations) == metrics["requests"]
    assert all(row["prompt"] and row["text"] for row in generations)


def test_a_killed_run_asks_nothing_twice_and_ends_with_the_same_tasks(tmp_path: Path) -> None:
    brain = Model()
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with chat_server(brain) as server:
        expected = run(config(server.url), {}, whole)
        asked = len(server.requests)
        generations = (whole / "_work" / "generations.jsonl").read_bytes().splitlines(keepends=True)
        (broken / "_work").mkdir(parents=True)
        kept = generations[: len(generations) // 2]
        (broken / "_work" / "generations.jsonl").write_bytes(b"".join(kept) + generations[-1][:40])  # the last one torn
        found = run(config(server.url), {}, broken)
        assert len(server.requests) - asked == len(generations) - len(kept)
    assert found == expected
    for name in ("tasks", "dropped", "sft", "test", "generations"):
        assert (broken / f"{name}.jsonl").read_bytes() == (whole / f"{name}.jsonl").read_bytes(), name


def test_limits_end_it_with_what_there_is(tmp_path: Path) -> None:
    prices = {"price_per_million_prompt_tokens": 1e4, "price_per_million_completion_tokens": 1e4}
    with chat_server(Model()) as server:
        limited = config(server.url, num_tasks=500, max_cost=200.0, max_completion_tokens=600, **prices)
        metrics = run(limited, {}, tmp_path / "cost")
        assert metrics["ended_by"] == "max_cost"
        assert 0 < metrics["cost"] <= 200.0
        assert metrics["cost"] == pytest.approx(metrics["requests"] * 150 * 1e-2)
        with pytest.raises(ValueError, match="no task came of 0 requests"):
            run(config(server.url, max_tokens=10), {}, tmp_path / "none")


def test_a_model_that_repeats_itself_ends_the_step(tmp_path: Path) -> None:
    same = Reply("Instruction: Tell me about old clocks\nInput: (none)\nOutput: They tick.")
    with chat_server(lambda _: same) as server:
        metrics = run(config(server.url, max_empty_rounds=3), {}, tmp_path)
    assert (metrics["tasks"], metrics["ended_by"]) == (1, "max_empty_rounds")


def test_a_server_that_is_gone_is_told_and_what_came_is_kept(tmp_path: Path) -> None:
    brain, calls = Model(), []

    def sometimes(request: dict[str, Any]) -> Reply:
        calls.append(1)
        return brain(request) if len(calls) <= 2 else Reply("down", status=503)

    kept = r"none of 2 requests got an answer.*2 answers are kept"
    with chat_server(sometimes) as server, pytest.raises(ValueError, match=kept):
        run(config(server.url, num_tasks=100), {}, tmp_path)
    with chat_server(brain) as server:
        again = config(server.url, num_tasks=8)
        assert run(again, {}, tmp_path)["tasks"] == 8


def test_answers_are_read_with_their_faults() -> None:
    text = (
        "Task 5:\nInstruction: A\nInput: N/A\nOutput: one\ntwo\n\n### Task 6\n**Instruction:** B\n**Output:** x\n\n"
        "Task 7\nInput: y"
    )
    assert task_prompts.tasks_in(text, cut_off=False) == [Task("A", "", "one\ntwo"), Task("B", "", "x"), None]
    assert task_prompts.tasks_in(text, cut_off=True) == [Task("A", "", "one\ntwo"), Task("B", "", "x")]
    assert task_prompts.instructions_in(" Do this\n6) Do  that\nnoise\n7. Rest", cut_off=True) == ["Do this", "Do that"]
    assert task_prompts.instance_in("I", "Label: yes\nInput: it is", is_classification=True) == Task(
        "I", "it is", "yes"
    )
    assert task_prompts.instance_in("I", "it is", is_classification=False) is None


def test_the_packages_seed_tasks_pass_their_own_filters() -> None:
    tasks = seed_tasks(SelfInstruct())
    pool = Pool()
    for task in tasks:
        assert task.output
        assert pool.is_new(task.instruction)
        pool.add(task.instruction)


def test_published_seed_tasks_are_read(fidelity: Path) -> None:
    path = fidelity / "posttrain" / "data" / "seed_tasks.jsonl"
    tasks = seed_tasks(replace(SelfInstruct(), seed_tasks=(str(path),)))
    assert len(tasks) == 175
    assert all(task.instruction for task in tasks)

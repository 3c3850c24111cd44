"""Instruction data made by a language model from seed tasks (Wang et al. 2023; Taori et al. 2023).

In: seed tasks, and an OpenAI-compatible server. Out: `sft.jsonl` and `test.jsonl`, conversations; `tasks.jsonl`, every
task with the instruction that was most like it; `dropped.jsonl`, every other with the reason; `generations.jsonl`,
every answer with its prompt. A task counts when its instruction is new (ROUGE-L, `novelty.py`), of a sensible length,
can be done with text alone, and has an answer.

Requests are made in rounds that see the same pool, and answers are taken in the order of the requests. Each is on disk
before it counts; so a killed run asks for nothing twice and ends with the same tasks. No request is made that
could go beyond the limits.
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from athanor.core.artifact import WORK, write_jsonl
from athanor.core.chat_endpoint import ChatClient
from athanor.core.config import matching_files
from athanor.core.console import Progress, progress, say, warn
from athanor.data.synth_store import Generation, Store
from athanor.posttrain import task_prompts
from athanor.posttrain.asker import Asker, LimitReached, write_generations
from athanor.posttrain.conversation_formats import BadRow, messages_of
from athanor.posttrain.given_rows import raw_rows
from athanor.posttrain.novelty import Pool
from athanor.posttrain.self_instruct_config import SelfInstruct
from athanor.posttrain.splits import CONVERSATION_SPLITS, deal, write_splits
from athanor.posttrain.task_prompts import Task

SOURCE = "self_instruct"
SEED_SHARE = 0.75  # of the examples, once there are tasks made here: 6 of 8 in Wang et al. (2023)
SHORT_ANSWER_TOKENS = 16  # of yes or no


@dataclass
class Course:
    """What has been made so far."""

    seeds: list[Task]
    pool: Pool
    names: list[str]
    """The instruction of each text in the pool."""
    tasks: list[dict[str, Any]]
    dropped: list[dict[str, Any]]


def run(config: SelfInstruct, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Make `config.num_tasks` tasks; the counts, tokens and cost."""
    if not config.endpoint.model:
        raise ValueError("endpoint.model: name the model, as the server knows it")
    seeds = seed_tasks(config)
    course = Course(seeds, Pool(), [], [], [])
    for seed_task in seeds:
        _remember(course, seed_task.instruction)
    ended = "num_tasks"
    with (
        Store(out / WORK / "generations.jsonl") as store,
        ChatClient(config.endpoint) as client,
        ThreadPoolExecutor(config.endpoint.concurrency) as workers,
        progress("self-instruct", config.num_tasks, "tasks") as shown,
    ):
        asker = Asker(config, store, client, workers)
        try:
            ended = _rounds(config, course, asker, shown)
        except LimitReached as limit:
            ended = str(limit)
            say(f"self-instruct: stops asking, {limit} is reached")
        numbers = write_generations(store, out)
    made = course.tasks[: config.num_tasks]
    if not made:
        raise ValueError(f"no task came of {numbers['requests']} requests; see {out / WORK / 'generations.jsonl'}")
    if len(made) < config.num_tasks:
        warn(f"self-instruct: {len(made)} of {config.num_tasks} tasks made, ended by {ended}")
    rows = [_conversation(task, number) for number, task in enumerate(made)]
    splits = deal(rows, {"sft": 1 - config.test_share, "test": config.test_share}, config.seed, "page")
    write_splits(out, splits, CONVERSATION_SPLITS)
    write_jsonl(out / "tasks.jsonl", made)
    write_jsonl(out / "dropped.jsonl", course.dropped)
    similar = sorted(task["similarity"] for task in made)
    return {
        "tasks": len(made),
        "rows": {name: len(split) for name, split in splits.items()},
        "seed_tasks": len(seeds),
        "dropped": dict(sorted(Counter(row["reason"] for row in course.dropped).items())),
        "ended_by": ended,
        "with_input": sum(bool(task["input"]) for task in made),
        "median_similarity": similar[len(similar) // 2],
        **numbers,
    }


def seed_tasks(config: SelfInstruct) -> list[Task]:
    """The tasks to begin from; raises ValueError for a file without any, naming the row that is none."""
    if not config.seed_tasks:
        text = files("athanor.posttrain").joinpath("seed_tasks.jsonl").read_text(encoding="utf-8")
        return [Task(**json.loads(line)) for line in text.splitlines() if line.strip()]
    found: list[Task] = []
    for path in matching_files(config.seed_tasks):
        for number, row in enumerate(raw_rows(path), start=1):
            try:
                found.append(_seed_task(row))
            except BadRow as problem:
                raise ValueError(f"{path}: row {number}: {problem}") from problem
    return found


def _seed_task(row: Any) -> Task:
    """A row of Self-Instruct's seed file (instruction, instances), or of any format of conversations."""
    if not isinstance(row, dict):
        raise BadRow(f"a row is {type(row).__name__}, not an object")
    instances = row.get("instances")
    if isinstance(instances, list) and instances and "instruction" in row:
        first = instances[0]
        return Task(str(row["instruction"]), str(first.get("input") or ""), str(first.get("output") or ""))
    if "instruction" in row and "output" in row:
        return Task(str(row["instruction"]), str(row.get("input") or ""), str(row["output"]))
    messages = [message for message in messages_of(row) if message["role"] != "system"]
    return Task(messages[0]["content"], "", messages[1]["content"])


def _rounds(config: SelfInstruct, course: Course, asker: Asker, shown: Progress) -> str:
    """Round after round until there are enough tasks, or none come any more; what ended it."""
    number = empty = 0
    while len(course.tasks) < config.num_tasks:
        before = len(course.tasks)
        for task in _tasks_of_round(config, course, asker, number):
            _judge(config, course, task, number)
        shown.update(min(len(course.tasks), config.num_tasks))
        number += 1
        empty = empty + 1 if len(course.tasks) == before else 0
        if empty >= config.max_empty_rounds:
            return "max_empty_rounds"
    return "num_tasks"


def _tasks_of_round(config: SelfInstruct, course: Course, asker: Asker, number: int) -> Iterator[Task | None]:
    """The tasks of one round's answers, None for one that cannot be read."""
    chosen = [_examples(config, course, number, i) for i in range(config.requests_per_round)]
    if config.method == "alpaca":
        prompts = [task_prompts.ask_for_tasks(examples, config.tasks_per_request) for examples in chosen]
        for answer in asker.ask(f"tasks {number}", prompts, config.max_completion_tokens):
            if answer is not None:
                yield from task_prompts.tasks_in(f"Task 0\n{_without_number(answer.text)}", _is_cut(answer))
        return
    prompts = [task_prompts.ask_for_instructions(examples, config.tasks_per_request) for examples in chosen]
    instructions = [
        instruction
        for answer in asker.ask(f"instructions {number}", prompts, config.max_completion_tokens)
        if answer is not None
        for instruction in task_prompts.instructions_in(answer.text, _is_cut(answer))
    ]
    wanted = [text for text in instructions if _problem(config, course, text) is None]
    for text in instructions:
        if text not in wanted:
            yield Task(text, "", "")  # judged, and dropped with its reason, without asking for an instance
    kinds = [
        answer is not None and task_prompts.says_yes(answer.text)
        for answer in asker.ask(
            f"kinds {number}", [task_prompts.ask_whether_classification(text) for text in wanted], SHORT_ANSWER_TOKENS
        )
    ]
    asked = [task_prompts.ask_for_instance(text, kind) for text, kind in zip(wanted, kinds, strict=True)]
    answers = asker.ask(f"instances {number}", asked, config.max_completion_tokens)
    for text, kind, answer in zip(wanted, kinds, answers, strict=True):
        found = None if answer is None or _is_cut(answer) else task_prompts.instance_in(text, answer.text, kind)
        yield found


def _without_number(text: str) -> str:
    """An answer that goes on after 'Task 5' may repeat the number."""
    first, _, rest = text.lstrip().partition("\n")
    return rest if first.strip(" #:.").lower().startswith("task") else text


def _is_cut(answer: Generation) -> bool:
    return answer.finish_reason == "length"


def _examples(config: SelfInstruct, course: Course, number: int, request: int) -> list[Task]:
    """The examples of one request: mostly seed tasks, some of those made so far."""
    draw = random.Random(f"{config.seed}/{number}/{request}")
    made = [Task(task["instruction"], task["input"], task["output"]) for task in course.tasks]
    wanted = config.examples_per_request
    of_made = min(len(made), wanted - round(SEED_SHARE * wanted)) if made else 0
    chosen = draw.sample(course.seeds, min(len(course.seeds), wanted - of_made)) + draw.sample(made, of_made)
    draw.shuffle(chosen)
    return chosen


def _judge(config: SelfInstruct, course: Course, task: Task | None, number: int) -> None:
    """Keep a task, or drop it with the reason."""
    if task is None:
        course.dropped.append({"round": number, "reason": "cannot be read", "instruction": ""})
        return
    problem = _problem(config, course, task.instruction)
    if problem is None and not task.output.strip():
        problem = "no output"
    if problem is None and task.output.strip() == task.input.strip():
        problem = "the output repeats the input"
    similarity, nearest = course.pool.most_similar(task.instruction)
    like = course.names[nearest] if nearest >= 0 else ""
    row = {**asdict(task), "round": number, "similarity": round(similarity, 4), "most_similar": like}
    if problem:
        course.dropped.append({**row, "reason": problem})
    else:
        course.tasks.append(row)
        _remember(course, task.instruction)


def _problem(config: SelfInstruct, course: Course, instruction: str) -> str | None:
    """Why an instruction is not wanted; None for one that is."""
    words = instruction.split()
    if len(words) < config.min_words:
        return f"fewer than {config.min_words} words"
    if len(words) > config.max_words:
        return f"more than {config.max_words} words"
    lower = {word.strip(".,;:!?\"'()").lower() for word in words}
    if found := sorted(lower & set(config.unsuitable_words)):
        return f"the word {found[0]}"
    if not instruction[0].isalnum() and instruction[0] not in "\"'¿¡":
        return "begins with a mark"
    if not course.pool.is_new(instruction, config.max_similarity):
        return "too similar to another"
    return None


def _remember(course: Course, instruction: str) -> None:
    course.pool.add(instruction)
    course.names.append(instruction)


def _conversation(task: Mapping[str, Any], number: int) -> dict[str, Any]:
    messages = messages_of({key: task[key] for key in ("instruction", "input", "output")}, "alpaca")
    page = hashlib.sha256(messages[0]["content"].encode("utf-8", "replace")).hexdigest()[:16]
    return {"messages": messages, "name": f"{SOURCE}:{number}", "page": page, "source": SOURCE, "number": number}

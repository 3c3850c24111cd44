"""What a model is asked for when it makes tasks, and how its answers are read.

Two ways: whole tasks in one answer (Taori et al. 2023, Alpaca), or instructions first, then whether each is a
classification, then an instance (Wang et al. 2023, Self-Instruct, section 2.2). For a classification the label comes
before the input, or most inputs would end up with the same label. The wording is our own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

NOTHING = "(none)"
_TASK = re.compile(r"^\s*(?:#+\s*)?Task\s+\d+\s*[:.]?\s*$", re.MULTILINE)
_FIELD = re.compile(r"^\s*\**(Instruction|Input|Output)\**\s*:\**[ \t]*", re.MULTILINE)
_NUMBERED = re.compile(r"^\s*\d+\s*[.):]\s*(.+)$", re.MULTILINE)
_LABEL = re.compile(r"^\s*\**Label\**\s*:\**[ \t]*", re.MULTILINE)
_LABEL_OR_FIELD = re.compile(f"{_LABEL.pattern}|{_FIELD.pattern}", re.MULTILINE)


@dataclass(frozen=True)
class Task:
    """An instruction with one instance."""

    instruction: str
    input: str
    output: str


def ask_for_tasks(examples: Sequence[Task], wanted: int) -> str:
    """A prompt for `wanted` whole tasks that differ from the examples and from each other."""
    shown = "\n\n".join(f"Task {i}\n{as_text(task)}" for i, task in enumerate(examples, start=1))
    first = len(examples) + 1
    return (
        f"Below are {len(examples)} tasks for an assistant that reads and writes text and has no other means. Write "
        f"{wanted} more, numbered from {first}, in the same form.\n\n"
        "- Vary the verb, the subject, the length, and whether it is a question or an order.\n"
        "- Vary the kind: explaining, classifying, rewriting, summarising, open questions, code, ideas, sums, talk.\n"
        "- An instruction has one or two sentences.\n"
        f"- The input is what the instruction works on, real and no placeholder; write {NOTHING} if none is needed.\n"
        "- The output is the right answer, of at most 120 words.\n\n"
        f"{shown}\n\nTask {first}"
    )


def ask_for_instructions(examples: Sequence[Task], wanted: int) -> str:
    """A prompt for `wanted` instructions, a numbered list that goes on from the examples."""
    shown = "\n".join(f"{i}. {one_line(task.instruction)}" for i, task in enumerate(examples, start=1))
    first = len(examples) + 1
    return (
        "A list of varied instructions for an assistant that reads and writes text. Continue it with numbers "
        f"{first} to {len(examples) + wanted}, one line each, unlike those before.\n\n{shown}\n{first}."
    )


def ask_whether_classification(instruction: str) -> str:
    """A prompt whose answer is yes where the possible answers to the instruction are a short, fixed list."""
    return (
        "Can the following instruction only be answered by one of a few fixed labels, such as yes or no, positive or "
        f"negative, or a topic from a list? Answer yes or no.\n\nInstruction: {instruction}\nAnswer:"
    )


def ask_for_instance(instruction: str, is_classification: bool) -> str:
    """A prompt for one input and output of an instruction; for a classification the label comes first."""
    if is_classification:
        return (
            "Think of one case for the instruction below. First choose a possible label and write it after 'Label:', "
            f"then write an input that has this label after 'Input:', or {NOTHING} if the instruction needs none.\n\n"
            f"Instruction: {instruction}\nLabel:"
        )
    return (
        "Think of one case for the instruction below. Write an input for it after 'Input:', real and no placeholder, "
        f"or {NOTHING} if the instruction needs none, then the right answer after 'Output:'.\n\n"
        f"Instruction: {instruction}\nInput:"
    )


def as_text(task: Task) -> str:
    """A task in the form that the prompts show and ask for."""
    return f"Instruction: {task.instruction}\nInput: {task.input or NOTHING}\nOutput: {task.output}"


def tasks_in(text: str, cut_off: bool) -> list[Task | None]:
    """The tasks of an answer to `ask_for_tasks`, None for one that lacks a field; of a cut answer all but the last."""
    pieces = [piece for piece in _TASK.split(text) if piece.strip()]
    if cut_off:
        pieces = pieces[:-1]
    return [_task(piece) for piece in pieces]


def _task(piece: str) -> Task | None:
    found = _fields(piece, _FIELD)
    instruction, output = found.get("Instruction", ""), found.get("Output", "")
    return Task(instruction, _or_nothing(found.get("Input", "")), output) if instruction and output else None


def instructions_in(text: str, cut_off: bool) -> list[str]:
    """The instructions of an answer to `ask_for_instructions`, which may go on after the number that was asked for."""
    lines = text if _NUMBERED.match(text) else f"0. {text.lstrip()}"
    found = [one_line(match) for match in _NUMBERED.findall(lines)]
    return found[:-1] if cut_off else found


def instance_in(instruction: str, text: str, is_classification: bool) -> Task | None:
    """The task of an answer to `ask_for_instance`; None where a part is missing."""
    if is_classification:
        found = _fields(text if _LABEL.match(text) else f"Label: {text}", _LABEL_OR_FIELD)
        output = found.get("Label", "")
    else:
        found = _fields(text if _FIELD.match(text) else f"Input: {text}", _FIELD)
        output = found.get("Output", "")
    return Task(instruction, _or_nothing(found.get("Input", "")), output) if output else None


def says_yes(text: str) -> bool:
    """Whether an answer begins with yes."""
    return text.strip().lower().startswith("yes")


def one_line(text: str) -> str:
    """`text` with every run of white space as one blank."""
    return " ".join(text.split())


def _fields(text: str, pattern: re.Pattern[str]) -> dict[str, str]:
    """What stands behind each field's name, up to the next; of a field given twice the first counts."""
    marks = list(pattern.finditer(text))
    found: dict[str, str] = {}
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        name = next(word for word in ("Instruction", "Input", "Output", "Label") if word in mark.group())
        found.setdefault(name, text[mark.end() : following.start() if following else None].strip())
    return found


def _or_nothing(text: str) -> str:
    return "" if text.lower().strip(" .") in ("", "none", NOTHING, "n/a", "no input", "<noinput>") else text

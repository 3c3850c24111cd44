"""Rows of preference data in the field's formats, as a prompt and two answers.

| format | keys of a row |
|---|---|
| pairs | `prompt` (a text, or messages), `chosen`, `rejected` (texts, messages, or whole conversations) |
| conversation | `messages` or `conversations` (the prompt's turns), `chosen`, `rejected` (a turn, or a text) |
| transcripts | `chosen`, `rejected`: whole dialogues, "\\n\\nHuman: ...\\n\\nAssistant: ..." (hh-rlhf) |
| singles | `prompt`, `completion`, `label` (true or false): one answer, good or bad |
| alpaca | `instruction`, optional `input`; `chosen`, `rejected`, or `output_1`, `output_2`, `preference` (else: tie) |
| pandalm | `instruction`, `input`, `response1`, `response2`, `annotator1` and on (1, 2, 0 for a tie): most votes win |

Beside them a row may have `margin` (by how much the chosen answer should lead), `score_chosen` and `score_rejected`
(whose difference is the margin), and `tie`. In: a row as JSON gives it. Out: prompt, chosen, rejected, or a `BadRow`
that says why not.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from athanor.posttrain.conversation_formats import ROLES, BadRow, checked

TURN = re.compile(r"\n\n(Human|Assistant):")
SPEAKER = {"Human": "user", "Assistant": "assistant"}

Messages = list[dict[str, str]]


def pair_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """`prompt`, `chosen`, `rejected` of a row, with `margin` and `tie` where it has them; raises BadRow for none.

    >>> pair_of({"prompt": "2 + 2?", "chosen": "4", "rejected": "5"})["chosen"]
    '4'
    """
    if "instruction" in row:
        asked = _text(row, "instruction")
        given = row.get("input") or ""
        prompt = [_user(f"{asked}\n\n{given}" if str(given).strip() else asked)]
        chosen, rejected, tie = _alpaca_answers(row)
    elif "chosen" not in row or "rejected" not in row:
        raise BadRow(f"no chosen and rejected: its keys are {', '.join(sorted(row)) or 'none'}")
    else:
        tie = bool(row.get("tie", False))
        turns = next((row[key] for key in ("prompt", "messages", "conversations") if key in row), None)
        if turns is None and isinstance(row["chosen"], str):
            prompt, chosen, rejected = _from_transcripts(row["chosen"], _text(row, "rejected"))
        elif turns is None:
            prompt, chosen, rejected = _from_conversations(row["chosen"], row["rejected"])
        else:
            prompt = [_user(turns)] if isinstance(turns, str) else _turns(turns)
            chosen, rejected = (_answer(row[key], prompt) for key in ("chosen", "rejected"))
    prompt = [*checked([*prompt, {"role": "assistant", "content": chosen}])[:-1]]
    checked([*prompt, {"role": "assistant", "content": rejected}])
    if chosen == rejected:
        raise BadRow("chosen and rejected are the same")
    pair: dict[str, Any] = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    return pair | ({"tie": True} if tie else {}) | _margin(row)


def single_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """`prompt`, `completion` and `label` of a row that judges one answer good or bad; raises BadRow for another.

    >>> single_of({"prompt": "2 + 2?", "completion": "5", "label": False})["label"]
    False
    """
    if row["label"] not in (True, False, 0, 1):
        raise BadRow("label is neither true nor false")
    turns = row.get("prompt")
    prompt = [_user(turns)] if isinstance(turns, str) else _turns(turns)
    completion = _answer(row["completion"], prompt)
    return {
        "prompt": checked([*prompt, {"role": "assistant", "content": completion}])[:-1],
        "completion": completion,
        "label": bool(row["label"]),
    }


def _alpaca_answers(row: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Chosen, rejected, and whether the row is a tie."""
    if "response1" in row:
        return _by_votes(row)
    if "output_1" not in row:
        return _text(row, "chosen"), _text(row, "rejected"), bool(row.get("tie", False))
    first, second = _text(row, "output_1"), _text(row, "output_2")
    preference = row.get("preference")
    if preference == 2:
        return second, first, False
    return first, second, preference != 1


def _by_votes(row: Mapping[str, Any]) -> tuple[str, str, bool]:
    """The answers in the order of the annotators' votes; raises BadRow where no choice has most of them."""
    votes = Counter(value for key, value in row.items() if key.startswith("annotator")).most_common(2)
    if not votes or (len(votes) == 2 and votes[0][1] == votes[1][1]):
        raise BadRow("the annotators disagree")
    answers = [str(row[key]) for key in ("response1", "response2")]
    if votes[0][0] == 2:
        return answers[1], answers[0], False
    return answers[0], answers[1], votes[0][0] != 1


def _from_transcripts(chosen: str, rejected: str) -> tuple[Messages, str, str]:
    """The dialogue that the two share, and the last answers; raises BadRow where they part earlier."""
    sides = [_dialogue(text) for text in (chosen, rejected)]
    if sides[0][:-1] != sides[1][:-1]:
        raise BadRow("the two dialogues part before the last answer")
    return sides[0][:-1], sides[0][-1]["content"], sides[1][-1]["content"]


def _dialogue(text: str) -> Messages:
    parts = TURN.split(text if text.startswith("\n\n") else "\n\n" + text.lstrip())
    turns = [
        {"role": SPEAKER[who], "content": said.strip()} for who, said in zip(parts[1::2], parts[2::2], strict=True)
    ]
    if parts[0].strip() or not turns or turns[-1]["role"] != "assistant":
        raise BadRow("neither a prompt nor a dialogue of Human and Assistant that the Assistant ends")
    return turns


def _from_conversations(chosen: Any, rejected: Any) -> tuple[Messages, str, str]:
    sides = [_turns(side) for side in (chosen, rejected)]
    if sides[0][:-1] != sides[1][:-1]:
        raise BadRow("the two dialogues part before the last answer")
    if len(sides[0]) < 2:
        raise BadRow("no prompt")
    return sides[0][:-1], sides[0][-1]["content"], sides[1][-1]["content"]


def _answer(value: Any, prompt: Sequence[Mapping[str, str]]) -> str:
    """The text of an answer, which may be a text, a turn, a list of one, or the whole conversation."""
    if isinstance(value, str):
        return value
    turns = _turns([value] if isinstance(value, Mapping) else value)
    if len(turns) > 1 and turns[:-1] != list(prompt):
        raise BadRow("the conversation of an answer does not begin with the prompt")
    return turns[-1]["content"]


def _turns(value: Any) -> Messages:
    if not isinstance(value, list) or not value:
        raise BadRow("turns are not a list")
    found = []
    for turn in value:
        role, said = (
            (turn.get("role", turn.get("from")), turn.get("content", turn.get("value")))
            if isinstance(turn, Mapping)
            else (None, None)
        )
        if not isinstance(role, str) or not isinstance(said, str):
            raise BadRow("a turn has no role and content")
        found.append({"role": ROLES.get(role.lower(), role), "content": said})
    return found


def _margin(row: Mapping[str, Any]) -> dict[str, float]:
    value = row.get("margin")
    if value is None and row.get("score_chosen") is not None and row.get("score_rejected") is not None:
        try:
            value = float(row["score_chosen"]) - float(row["score_rejected"])
        except (TypeError, ValueError):
            raise BadRow("score_chosen and score_rejected are no numbers") from None
    if value is None:
        return {}
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadRow("margin is no number")
    return {"margin": float(value)}


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise BadRow(f"{key} is no text")
    return value

"""Rows of instruction data in the field's formats, as messages.

| format | keys of a row |
|---|---|
| messages | `messages`, or `conversation`: a list of {role, content} (OpenAI) |
| alpaca | `instruction`, `output`, optional `input`, `system`, `history` ([[question, answer], ...]) |
| prompt_completion | `prompt` and `completion` (or `response`): texts, or lists of messages |
| sharegpt | `conversations`: a list of {from, value}, and optionally `system` |

In: a row as JSON gives it. Out: messages that a model can be trained on: one system message at most, then user and
assistant in turn, ending with the assistant, none empty. Anything else is a `BadRow` with the reason: a turn
mended in silence would teach what nobody wrote.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

Format = Literal["messages", "alpaca", "prompt_completion", "sharegpt"]

ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
"""What formats call a role -> what it is called here."""


NO_ANSWER = "no assistant turn"


class BadRow(ValueError):
    """A row that is no conversation to learn from; the text is the reason, the same for rows of one kind."""


def format_of(row: Mapping[str, Any]) -> Format:
    """The format that the keys of `row` speak of; raises BadRow for none."""
    if "messages" in row or "conversation" in row:
        return "messages"
    if "conversations" in row:
        return "sharegpt"
    if "instruction" in row and "output" in row:
        return "alpaca"
    if "prompt" in row and ("completion" in row or "response" in row):
        return "prompt_completion"
    raise BadRow(f"none of the formats {', '.join(get_args(Format))}: its keys are {', '.join(sorted(row)) or 'none'}")


def messages_of(row: Mapping[str, Any], format: Format | None = None) -> list[dict[str, str]]:
    """The messages of `row`, checked; raises BadRow with the reason where there is nothing to learn from.

    >>> messages_of({"instruction": "Add.", "input": "1 2", "output": "3"})
    [{'role': 'user', 'content': 'Add.\\n\\n1 2'}, {'role': 'assistant', 'content': '3'}]
    """
    kind = format or format_of(row)
    made = {
        "messages": _from_messages,
        "alpaca": _from_alpaca,
        "prompt_completion": _from_prompt_completion,
        "sharegpt": _from_sharegpt,
    }[kind](row)
    return checked(made)


def checked(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """`messages` with the roles' usual names; raises BadRow for a wrong order, an empty or unknown turn."""
    found: list[dict[str, str]] = []
    for message in messages:
        role = ROLES.get(str(message["role"]).lower())
        if role is None:
            raise BadRow(f"unknown role {str(message['role'])[:40]!r}")
        content = _text(message["content"])
        if not content.strip():
            raise BadRow(f"empty {role} turn")
        found.append({"role": role, "content": content})
    turns = [message["role"] for message in found]
    spoken = turns[1:] if turns[:1] == ["system"] else turns
    if not spoken or "assistant" not in spoken:
        raise BadRow(NO_ANSWER)
    if any(role != ("user", "assistant")[i % 2] for i, role in enumerate(spoken)):
        raise BadRow("roles do not take turns: system (once, first), then user and assistant")
    if spoken[-1] != "assistant":
        raise BadRow("the last turn is the user's")
    return found


def _from_messages(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return _turns(row, "messages" if "messages" in row else "conversation", "role", "content")


def _from_sharegpt(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    turns = row.get("conversations")
    as_messages = isinstance(turns, list) and turns and isinstance(turns[0], Mapping) and "role" in turns[0]
    keys = ("role", "content") if as_messages else ("from", "value")
    return [*_system(row), *_turns(row, "conversations", *keys)]


def _from_alpaca(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    made = _system(row)
    for pair in row.get("history") or ():
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise BadRow("history is not a list of [question, answer]")
        made += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    instruction, given = _field(row, "instruction"), row.get("input") or ""
    asked = f"{instruction}\n\n{given}" if isinstance(given, str) and given.strip() else instruction
    return [*made, {"role": "user", "content": asked}, {"role": "assistant", "content": _field(row, "output")}]


def _from_prompt_completion(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    prompt, completion = _field(row, "prompt"), _field(row, "completion" if "completion" in row else "response")
    before = _turns(row, "prompt", "role", "content") if isinstance(prompt, list) else [_said("user", prompt)]
    if isinstance(completion, list):
        return [*before, *_turns(row, "completion" if "completion" in row else "response", "role", "content")]
    return [*before, _said("assistant", completion)]


def _turns(row: Mapping[str, Any], key: str, role: str, content: str) -> list[dict[str, Any]]:
    turns = row.get(key)
    if not isinstance(turns, list) or not turns:
        raise BadRow(f"{key} is not a list of turns")
    for turn in turns:
        if not isinstance(turn, Mapping) or role not in turn or content not in turn:
            raise BadRow(f"a turn of {key} has no {role} and {content}")
    return [_said(turn[role], turn[content]) for turn in turns]


def _system(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_said("system", row["system"])] if row.get("system") else []


def _said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def _field(row: Mapping[str, Any], key: str) -> Any:
    if row.get(key) is None:
        raise BadRow(f"no {key}")
    return row[key]


def _text(content: Any) -> str:
    """The text of a turn, which may come in parts; raises BadRow for anything but text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        if all(isinstance(part, Mapping) and part.get("type") == "text" for part in content):
            return "".join(str(part.get("text") or "") for part in content)
        raise BadRow("a turn holds more than text")
    raise BadRow(f"the content of a turn is {type(content).__name__}, not text")

"""What a row of a file of preference pairs holds beside its texts: where they come from, and how long they are."""

from collections.abc import Mapping, Sequence
from typing import Any


def pair_row(
    prompt: Sequence[Mapping[str, str]],
    chosen: str,
    rejected: str,
    *,
    chosen_by: str,
    rejected_kind: str,
    rejected_ended: bool,
    name: str,
    page: str,
) -> dict[str, Any]:
    """The row of a pair: `chosen_by` says who chose, `rejected_kind` what the other is, `page` groups prompts."""
    return {
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "chosen_by": chosen_by,
        "rejected_kind": rejected_kind,
        "rejected_ended": rejected_ended,
        **lengths(chosen, rejected),
        "name": name,
        "page": page,
    }


def lengths(chosen: str, rejected: str) -> dict[str, int]:
    """The characters of both answers, by which a reward model's liking for length is seen."""
    return {"chosen_characters": len(chosen), "rejected_characters": len(rejected)}

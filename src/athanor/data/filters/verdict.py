"""What a rule says about a document."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """Kept or not and, where not, a reason that can be counted: it names the rule's bound, not the text."""

    kept: bool
    reason: str = ""


KEPT = Verdict(kept=True)


def removed(reason: str) -> Verdict:
    """The verdict of a rule that fired."""
    return Verdict(kept=False, reason=reason)


def percent(fraction: float) -> str:
    """A bound as it reads in a reason: 0.3 -> "30%", 0.005 -> "0.5%"."""
    return f"{round(100 * fraction, 4):g}%"

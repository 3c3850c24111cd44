"""Rewards that can be checked: the right final answer, or tests that pass.

In: an answer and what is right about it. Out: 1.0 or 0.0. The final answer is the number after `####` as in GSM8K
(Cobbe et al. 2021), else what stands in the last `\\boxed{}`, else the last number; texts without a number are compared
without case, punctuation and spacing. Code is the answer's fenced blocks, or all of it, run with the tests in a process
of its own (`sandbox.py`).
"""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from athanor.posttrain.sandbox import runs_through
from athanor.posttrain.splits import normalised

MARKED = re.compile(r"####\s*([^\n]+)")
BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+)?|-?\.\d+")
FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)


def exact_answer_reward(answer: str, reference: str) -> float:
    """1.0 where the final answer is the reference's, else 0.0.

    >>> exact_answer_reward("2 + 3 is 5, so #### 5.0", "It is five: #### 5")
    1.0
    """
    return float(final_answer(answer) == final_answer(reference) != "")


def final_answer(text: str) -> str:
    """The final answer of a text in one form: numbers without commas and trailing zeros; empty where there is none.

    >>> final_answer("so she has $1,250.50 left."), final_answer("#### -3"), final_answer("Paris!")
    ('1250.5', '-3', 'paris')
    """
    marked = MARKED.findall(text) or BOXED.findall(text)
    said = marked[-1] if marked else text
    numbers = NUMBER.findall(said)
    return _plain(numbers[-1]) if numbers else normalised(said)


def _plain(number: str) -> str:
    plain = number.replace(",", "").rstrip(".")
    if "/" in plain:
        return plain
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    sign, digits = ("-", plain[1:]) if plain.startswith("-") else ("", plain)
    whole, point, rest = digits.partition(".")
    whole = whole.lstrip("0") or "0"
    return ("" if whole == "0" and not rest else sign) + whole + point + rest


def unit_test_rewards(
    answers: Sequence[str], tests: Sequence[str], timeout_seconds: float, memory_mb: int
) -> list[float]:
    """1.0 for each answer whose code passes its tests, else 0.0; as many at a time as there are processors."""
    programs = [f"{code_of(answer)}\n\n{test}\n" for answer, test in zip(answers, tests, strict=True)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [float(passed) for passed in pool.map(lambda p: runs_through(p, timeout_seconds, memory_mb), programs)]


def code_of(answer: str) -> str:
    """The code of an answer: its fenced blocks one after another, or all of it where it has none."""
    blocks: list[str] = FENCED.findall(answer)
    return "\n".join(blocks) if blocks else answer

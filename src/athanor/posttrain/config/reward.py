"""Config of what judges the answers of a policy."""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

RewardKind = Literal["model", "function", "exact_answer", "unit_tests", "endpoint"]


@dataclass(frozen=True)
class Reward:
    """What judges the policy's answers."""

    kind: RewardKind = "model"
    """model: the input reward_model; function: your own; exact_answer: the number after #### as in GSM8K, or the text;
    unit_tests: the row's tests run on the answer's code; endpoint: a server of yours."""
    function: str = ""
    """MODULE:FUNCTION of installed code, called with prompts, answers and rows; gives a number for each (function)."""
    url: str = ""
    """Address that is sent {"prompts", "completions", "rows"} and answers {"rewards": [...]} (endpoint)."""
    timeout_seconds: float = 10.0
    """Longest time for one answer's tests, or for one request (unit_tests, endpoint)."""
    memory_mb: int = 512
    """Memory of the process that runs one answer's tests (unit_tests)."""
    batch_size: int = field(default=64, metadata={"runtime": True})
    """Answers of one request (endpoint)."""
    attempts: int = field(default=3, metadata={"runtime": True})
    """How often one request is made before the run stops (endpoint)."""

    def __post_init__(self) -> None:
        for name, kind in (("function", "function"), ("url", "endpoint")):
            if getattr(self, name) and self.kind != kind:
                raise ValueError(
                    f"{name} is not used by the reward {self.kind!r}; leave it out, or set kind to {kind!r}"
                )
            if self.kind == kind and not getattr(self, name):
                raise ValueError(f"the reward {kind!r} needs {name}")
        if self.kind == "function" and (self.function.count(":") != 1 or not all(self.function.split(":"))):
            raise ValueError(
                f"function is {self.function!r}; expected MODULE:FUNCTION, such as mypackage.rewards:length"
            )
        if self.kind == "endpoint":
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
                raise ValueError(
                    f"url: expected http://HOST/PATH or https://HOST/PATH, no password, found {self.url!r}"
                )
        if self.timeout_seconds <= 0 or self.memory_mb < 16 or self.batch_size < 1 or self.attempts < 1:
            raise ValueError(
                "timeout_seconds must be above 0, memory_mb at least 16, batch_size and attempts at least 1"
            )

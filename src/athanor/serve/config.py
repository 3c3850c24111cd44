"""Options of `athanor chat`, `athanor serve` and `athanor export`, without torch."""

from dataclasses import dataclass, field
from typing import Literal

WeightType = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Chat:
    """A conversation in the terminal."""

    model: str | None = None
    """Model folder, or the folder of a finished run; absent: the newest run in runs/."""
    system: str | None = None
    """A system message that precedes the conversation."""
    temperature: float = 0.7
    """0 always takes the most likely token; higher is more varied."""
    top_k: int | None = 50
    """Draw only among this many most likely tokens."""
    top_p: float = 1.0
    """Draw only among the fewest tokens that hold this share of the probability."""
    repetition_penalty: float = 1.0
    """Above 1: tokens that were already seen become less likely."""
    max_tokens: int = 256
    """Longest answer, in tokens."""
    seed: int | None = None
    """The same seed and the same questions give the same answers; absent: different every time."""
    dtype: WeightType = "float32"
    """Type of weights and products; bfloat16 is up to twice as fast where the processor has it."""


@dataclass(frozen=True)
class Serve:
    """An OpenAI-compatible server with a chat page."""

    model: str | None = None
    """Model folder, or the folder of a finished run; absent: the newest run in runs/."""
    host: str = "127.0.0.1"
    """Address to listen on; any other than this machine's own (loopback) needs a token."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    token: str | None = field(default=None, repr=False)
    """Bearer token that every request must carry; the environment variable ATHANOR_TOKEN keeps it out of `ps`."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names under which this server may be addressed (the Host header)."""
    name: str | None = None
    """Name of the model in the API; absent: the name of its run or folder."""
    max_rows: int = 32
    """Completions computed at the same time; more wait."""
    max_waiting: int = 256
    """Completions that may wait or run at the same time; more are answered with status 503."""
    max_tokens: int = 1024
    """Longest answer in tokens where a request asks for no limit; the model's context may end it earlier."""
    max_body_bytes: int = 1_000_000
    """Longest request that is read."""
    dtype: WeightType = "float32"
    """Type of weights and products; bfloat16 is up to twice as fast where the processor has it."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port is {self.port}; it must be from 0 (any free one) to 65535")
        for name in ("max_rows", "max_waiting", "max_tokens", "max_body_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise ValueError("the token is empty or has letters beyond ASCII; give a long random one, or none at all")


@dataclass(frozen=True)
class Export:
    """A Hugging Face folder that other tools load unchanged."""

    model: str | None = None
    """Model folder, or the folder of a finished run; absent: the newest run in runs/."""
    to: str = "exported"
    """Folder to write; it must not exist yet, or be empty."""
    overwrite: bool = False
    """Replace a destination that was itself made by `athanor export`."""

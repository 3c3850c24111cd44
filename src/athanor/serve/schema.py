"""What clients may ask for: OpenAI's requests, checked strictly.

A parameter is used, or known to change nothing, or refused with its name: nothing is silently dropped. `top_k`,
`min_p` and `repetition_penalty` are additions that other open servers have too (the openai client sends them in
`extra_body`).
"""

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from athanor.inference.config import Sampling
from athanor.serve.errors import ApiError

MAX_STOP = 16
MAX_CHOICES = 128
MAX_ALTERNATIVES = 20
DEFAULT_COMPLETION_TOKENS = 16  # of /v1/completions, as at OpenAI

# for the provider's bookkeeping; they never change an answer
IGNORED = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"}
)
# not supported, with the values that ask for nothing
UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "reasoning_effort": ("none",),
    "verbosity": (),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "best_of": (1,),
    "suffix": ("",),
}

Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """No conversions, no unknown keys, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class StreamOptions(Strict):
    """What a stream tells beside the text."""

    include_usage: bool = False
    include_obfuscation: bool = False


class Generate(Strict):
    """What both kinds of request share."""

    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    seed: int | None = None
    stop: Text | Annotated[list[Text], Field(max_length=MAX_STOP)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=100)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kept = {}
        for name, value in data.items():
            if name in UNSUPPORTED:
                if value is not None and value not in UNSUPPORTED[name]:
                    raise ApiError(
                        400, f"{name} is not supported by this server", param=name, code="unsupported_parameter"
                    )
            elif name not in IGNORED:
                kept[name] = value
        return kept

    @model_validator(mode="after")
    def _check_together(self) -> "Generate":
        if self.stream_options is not None and not self.stream:
            raise ApiError(400, "stream_options is only allowed with stream: true", param="stream_options")
        return self

    def sampling(self) -> Sampling:
        """How tokens are drawn."""
        return Sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_k=self.top_k,
            top_p=1.0 if self.top_p is None else self.top_p,
            min_p=self.min_p or 0.0,
            repetition_penalty=self.repetition_penalty or 1.0,
        )

    def stop_strings(self) -> tuple[str, ...]:
        """The strings that end a completion."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def seed_number(self) -> int:
        """A non-negative number: the request's seed, or one that nobody can guess."""
        return secrets.randbits(63) if self.seed is None else self.seed % 2**64

    @property
    def wants_usage_in_stream(self) -> bool:
        """Whether the stream ends with a count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


class TextPart(Strict):
    """A part of a message's content."""

    type: Literal["text"]
    text: str


class Message(Strict):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @model_validator(mode="before")
    @classmethod
    def _refuse_other_media(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if data.get("role") in ("tool", "function"):
            raise ApiError(400, "messages of tools are not supported", param="messages", code="unsupported_parameter")
        content = data.get("content")
        for part in content if isinstance(content, list) else ():
            kind = part.get("type") if isinstance(part, dict) else None
            if isinstance(kind, str) and kind != "text":
                raise ApiError(
                    400,
                    f"content of type {kind!r} is not supported; this model reads text only",
                    param="messages",
                    code="unsupported_content",
                )
        # answers of the openai client carry these as null; a name has no place in the chat template
        empty = ("refusal", "tool_calls", "function_call", "audio", "annotations", "name")
        return {key: value for key, value in data.items() if key not in empty or value not in (None, [])}

    def plain(self) -> dict[str, str]:
        """The message as the chat template takes it."""
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": content}


class ChatRequest(Generate):
    """Body of POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_ALTERNATIVES)] | None = None

    @model_validator(mode="after")
    def _check_chat(self) -> "ChatRequest":
        if self.top_logprobs and not self.logprobs:
            raise ApiError(400, "top_logprobs needs logprobs: true", param="top_logprobs")
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ApiError(400, "give max_completion_tokens or max_tokens, not both", param="max_tokens")
        return self

    def new_tokens(self) -> int | None:
        """Longest answer; None for as long as the context allows."""
        return self.max_completion_tokens if self.max_tokens is None else self.max_tokens


class CompletionRequest(Generate):
    """Body of POST /v1/completions."""

    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_ALTERNATIVES)] | None = None
    echo: bool = False

    @model_validator(mode="after")
    def _check_completion(self) -> "CompletionRequest":
        if self.max_tokens == 0 and not self.wants_prompt_logprobs:
            raise ApiError(400, "max_tokens 0 asks for nothing without echo and logprobs", param="max_tokens")
        return self

    @property
    def wants_prompt_logprobs(self) -> bool:
        """Whether the log-probabilities of the prompt's tokens are asked for."""
        return self.echo and self.logprobs is not None

    def new_tokens(self) -> int:
        """Longest completion."""
        return DEFAULT_COMPLETION_TOKENS if self.max_tokens is None else self.max_tokens

    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts, of which there may be several in one request."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if not self.prompt:
            raise ApiError(400, "prompt is an empty list", param="prompt")
        if isinstance(self.prompt[0], int):
            return [self.prompt]
        return self.prompt

"""An OpenAI-compatible server and a chat page.

/v1/models, /v1/completions and /v1/chat/completions, whole or streamed; / is the page. All requests share one
engine (see `worker`); a client that goes away stops its completions. `guard` decides who may talk to it.
Left out: tools, images and audio, embeddings, several models at once; asking for them gives a clear 4xx.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

try:
    import uvicorn
    from fastapi import FastAPI
    from fastapi import Request as HttpRequest
    from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
except ImportError as error:
    raise ValueError(
        f"the server needs packages that are not installed ({error.name}); run: pip install 'athanor[serve]'"
    ) from error

from athanor.core.console import say
from athanor.inference.request import ContextOverflow, Request, check_room
from athanor.inference.text import end_ids
from athanor.serve.answers import ChatForm, Choice, CompletionForm, Form
from athanor.serve.config import Serve
from athanor.serve.errors import ApiError, answer_errors_as_openai
from athanor.serve.find import find_model, model_name
from athanor.serve.guard import Guard, host_names, is_loopback
from athanor.serve.loaded import LoadedModel, load_model
from athanor.serve.page import content_security_policy, page
from athanor.serve.schema import ChatRequest, CompletionRequest, Generate
from athanor.serve.worker import Answer, Finished, PromptRead, Worker
from athanor.tokenizer.chat_template import encode_prompt

TOKEN_VARIABLE = "ATHANOR_TOKEN"
CLIENT_CLOSED = 499  # nginx's number for a client that went away; nobody reads the answer


def main(options: Serve) -> None:
    """Serves the model until interrupted."""
    options = checked(options)
    folder = find_model(options.model)
    loaded = load_model(folder, options.name or model_name(options.model), options.dtype)
    app = create_app(loaded, options)
    listening = _listen(options)
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{host}:{listening.getsockname()[1]}"
    say(f"{loaded.name} ({folder})")
    say(f"chat page  {address}/")
    say(f"API        {address}/v1   (OpenAI-compatible; model: {loaded.name})")
    say("Ctrl-C ends the server")
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=2))
    server.run(sockets=[listening])


def checked(options: Serve) -> Serve:
    """The options with the token from the environment; raises ValueError for an open server without a token."""
    token = options.token or os.environ.get(TOKEN_VARIABLE) or None
    if token is None and not is_loopback(options.host):
        raise ValueError(
            f"host {options.host} can be reached from other machines, so the server needs a token: "
            f"set the environment variable {TOKEN_VARIABLE} (or --token) to a long random text, "
            "for example from: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return replace(options, token=token)


def create_app(loaded: LoadedModel, options: Serve) -> FastAPI:
    """The application around a loaded model; its worker runs while the application does."""
    worker = Worker(loaded, options.max_rows, options.max_waiting)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        await asyncio.to_thread(worker.close)

    app = FastAPI(title="athanor", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(
        Guard,
        token=options.token,
        hosts=host_names(options.host, options.allowed_hosts, options.token is not None),
        max_body_bytes=options.max_body_bytes,
    )
    answer_errors_as_openai(app)
    _add_routes(app, loaded, worker, options)
    return app


def _add_routes(app: FastAPI, loaded: LoadedModel, worker: Worker, options: Serve) -> None:
    card = {"id": loaded.name, "object": "model", "created": loaded.created, "owned_by": "athanor"}
    context_length = loaded.model.config.context_length
    stop_ids = end_ids(loaded.tokenizer)

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page(), headers={"content-security-policy": content_security_policy()})

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [card]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        _check_model(name, loaded.name)
        return card

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(body: ChatRequest, http: HttpRequest) -> Response:
        _check_model(body.model, loaded.name)
        try:
            prompt = encode_prompt(loaded.tokenizer, [message.plain() for message in body.messages])
        except ValueError as error:  # the model's own template may refuse what others take
            raise ApiError(400, str(error), param="messages") from error
        _check_context(prompt, context_length, "messages")
        new_tokens = body.new_tokens() or options.max_tokens
        requests = _requests(body, [prompt], new_tokens, stop_ids, body.top_logprobs or 0)
        form = ChatForm(loaded.tokenizer, loaded.name, loaded.fingerprint, bool(body.logprobs))
        answer = worker.submit(requests, body.stop_strings())
        return await _respond(http, form, body, answer, len(requests), len(prompt))

    @app.post("/v1/completions", response_model=None)
    async def completion(body: CompletionRequest, http: HttpRequest) -> Response:
        _check_model(body.model, loaded.name)
        prompts = [_prompt_tokens(loaded, prompt) for prompt in body.prompts()]
        for prompt in prompts:
            _check_context(prompt, context_length, "prompt", min(body.new_tokens(), 1))
        requests = _requests(body, prompts, body.new_tokens(), stop_ids, body.logprobs or 0)
        given = [prompt for prompt in body.prompts() for _ in range(body.n or 1)]
        shown = [_shown(loaded, prompt) if body.echo else "" for prompt in given]
        unpredicted = None
        if body.wants_prompt_logprobs:  # a text's first token comes after the begin-of-text token
            unpredicted = [[] if isinstance(prompt, str) else prompt[:1] for prompt in given]
            requests = [replace(request, prompt_log_probabilities=True) for request in requests]
        form = CompletionForm(
            loaded.tokenizer,
            loaded.name,
            loaded.fingerprint,
            body.logprobs is not None,
            echoed=shown,
            unpredicted=unpredicted,
        )
        answer = worker.submit(requests, body.stop_strings())
        return await _respond(http, form, body, answer, len(requests), sum(map(len, prompts)))


def _check_model(asked: str, served: str) -> None:
    if asked != served:
        raise ApiError(
            404,
            f"the model {asked!r} does not exist; this server has {served!r}",
            param="model",
            code="model_not_found",
        )


def _check_context(prompt: Sequence[int], context_length: int, param: str, new_tokens: int = 1) -> None:
    try:
        check_room(len(prompt), context_length, new_tokens)
    except ContextOverflow as error:
        raise ApiError(400, str(error), param=param, code="context_length_exceeded") from error
    except ValueError as error:
        raise ApiError(400, str(error), param=param) from error


def _prompt_tokens(loaded: LoadedModel, prompt: str | list[int]) -> list[int]:
    """A text as a document begins; tokens as they are."""
    if isinstance(prompt, str):
        return [loaded.tokenizer.bos_id, *loaded.tokenizer.encode(prompt)]
    unknown = [token for token in prompt if not 0 <= token < loaded.tokenizer.vocab_size]
    if unknown:
        raise ApiError(
            400, f"{unknown[0]} is no token; this model has 0 to {loaded.tokenizer.vocab_size - 1}", param="prompt"
        )
    return prompt


def _shown(loaded: LoadedModel, prompt: str | list[int]) -> str:
    return prompt if isinstance(prompt, str) else loaded.tokenizer.decode(prompt)


def _requests(
    body: Generate, prompts: Sequence[Sequence[int]], new_tokens: int, stop_ids: frozenset[int], num_alternatives: int
) -> list[Request]:
    """One request per choice; choice i draws from its own stream of the request's seed."""
    seed = body.seed_number()
    repeated = [prompt for prompt in prompts for _ in range(body.n or 1)]
    return [
        Request(prompt, body.sampling(), new_tokens, stop_ids, (seed, index), num_alternatives)
        for index, prompt in enumerate(repeated)
    ]


async def _respond(
    http: HttpRequest, form: Form, body: Generate, answer: Answer, count: int, prompt_tokens: int
) -> Response:
    if body.stream:
        lines = _stream(http, form, answer, count, prompt_tokens, body.wants_usage_in_stream)
        return StreamingResponse(lines, media_type="text/event-stream", headers={"x-accel-buffering": "no"})
    collecting = asyncio.create_task(_collect(answer, count))
    leaving = asyncio.create_task(_disconnected(http))
    try:
        await asyncio.wait({collecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not collecting.done():
            return Response(status_code=CLIENT_CLOSED)
        choices = collecting.result()
    finally:
        answer.cancel()
        for task in (collecting, leaving):
            task.cancel()
    return JSONResponse(form.answer(choices, _usage(prompt_tokens, sum(choice.num_tokens for choice in choices))))


async def _collect(answer: Answer, count: int) -> list[Choice]:
    choices = [Choice() for _ in range(count)]
    async for index, event in answer.events():
        if isinstance(event, Finished):
            choices[index].finish_reason, choices[index].num_tokens = event.reason, event.num_tokens
        elif isinstance(event, PromptRead):
            choices[index].prompt = event.tokens
        else:
            choices[index].take(event)
    return choices


async def _disconnected(http: HttpRequest) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


async def _stream(
    http: HttpRequest, form: Form, answer: Answer, count: int, prompt_tokens: int, wants_usage: bool
) -> AsyncIterator[str]:
    """The answer as server-sent events."""
    usage_so_far = {"usage": None} if wants_usage else {}
    lengths = [0] * count
    new_tokens = 0
    try:
        for index in range(count):
            opening = form.opening(index)
            if opening is not None:
                yield _sse(form.chunk([opening]) | usage_so_far)
        async for index, event in answer.events():
            if await http.is_disconnected():
                return
            if isinstance(event, Finished):
                new_tokens += event.num_tokens
                yield _sse(form.chunk([form.closing(index, event.reason)]) | usage_so_far)
            elif isinstance(event, PromptRead):
                yield _sse(form.chunk([form.prompt(index, event.tokens)]) | usage_so_far)
                lengths[index] = form.num_echoed(index)
            elif event.text or (form.wants_logprobs and event.tokens):
                yield _sse(form.chunk([form.piece(index, event, lengths[index])]) | usage_so_far)
                lengths[index] += len(event.text)
        if wants_usage:
            yield _sse(form.chunk([], _usage(prompt_tokens, new_tokens)))
    except ApiError as error:
        yield _sse(error.body())
    finally:
        answer.cancel()
    yield "data: [DONE]\n\n"


def _sse(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _listen(options: Serve) -> socket.socket:
    """The listening socket; raises ValueError where the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((options.host, options.port))
    except OSError as error:
        listening.close()
        raise ValueError(
            f"cannot listen on {options.host}:{options.port}: {error.strerror}; choose another --port (0: any free one)"
        ) from error
    return listening

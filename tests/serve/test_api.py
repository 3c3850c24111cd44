"""The server as clients see it: the official openai client, and raw HTTP for what it would never send."""

import json
import math
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from athanor.inference.logprobs import logprobs
from athanor.serve.config import Serve
from athanor.tokenizer.chat_template import encode_prompt

# what the model in conftest.py has learned by heart
QUESTION, ANSWER = "What does len do?", "len(s) returns the number of items of a container: naïve, but 𝄞."
FOLLOW_UP, FOLLOW_UP_ANSWER = "And of a dict?", "The number of its keys."
COUNT_QUESTION, COUNT = "Count.", ", ".join(str(number) for number in range(40))
CONTEXT_LENGTH = 320
ASK = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def client(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_question_gets_its_answer_whole(client):
    answer = client.chat.completions.create(model="tiny", messages=ASK, temperature=0)
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.model == "tiny" and answer.object == "chat.completion"


def test_a_question_gets_its_answer_in_pieces(client):
    stream = client.chat.completions.create(
        model="tiny", messages=ASK, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    assert len(chunks) > 20  # piece by piece, not all at once
    assert last.choices == [] and last.usage.completion_tokens > 0
    assert all(chunk.usage is None for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_conversation_goes_on(client):
    messages = [*ASK, {"role": "assistant", "content": ANSWER}, {"role": "user", "content": FOLLOW_UP}]
    answer = client.chat.completions.create(model="tiny", messages=messages, temperature=0)
    assert answer.choices[0].message.content == FOLLOW_UP_ANSWER


def test_an_answer_can_be_sent_back_as_the_client_holds_it(client):
    first = client.chat.completions.create(model="tiny", messages=ASK, temperature=0)
    parts = [{"type": "text", "text": "And of "}, {"type": "text", "text": "a dict?"}]
    messages = [*ASK, first.choices[0].message.model_dump(), {"role": "user", "content": parts}]
    answer = client.chat.completions.create(model="tiny", messages=messages, temperature=0)
    assert answer.choices[0].message.content == FOLLOW_UP_ANSWER


def test_max_tokens_and_stop_strings_end_an_answer(client):
    create = client.chat.completions.create
    short = create(model="tiny", messages=ASK, temperature=0, max_completion_tokens=5).choices[0]
    assert short.finish_reason == "length" and ANSWER.startswith(short.message.content)
    stopped = create(model="tiny", messages=ASK, temperature=0, stop=["zzz", "number of "]).choices[0]
    assert stopped.message.content == "len(s) returns the " and stopped.finish_reason == "stop"
    stream = create(model="tiny", messages=ASK, temperature=0, stop="number of ", stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "len(s) returns the "


def test_the_same_seed_gives_the_same_answers_and_choices_differ(client):
    def texts(seed, **more):
        answer = client.chat.completions.create(
            model="tiny", messages=ASK, temperature=2, n=3, seed=seed, max_tokens=30, **more
        )
        return [choice.message.content for choice in answer.choices]

    assert texts(5) == texts(5) != texts(6)
    assert len(set(texts(5))) == 3
    assert texts(-1) == texts(-1)
    assert texts(5, extra_body={"top_k": 1}) == [ANSWER[: len(text)] for text in texts(5, extra_body={"top_k": 1})]


def test_log_probabilities_are_the_models_own(client, loaded):
    answer = client.chat.completions.create(
        model="tiny", messages=ASK, temperature=1.5, seed=1, max_tokens=25, logprobs=True, top_logprobs=3
    )
    content = answer.choices[0].logprobs.content
    prompt = encode_prompt(loaded.tokenizer, ASK)
    tokens = [token for item in content for token in ids_of(loaded.tokenizer, bytes(item.bytes))]
    (expected,) = logprobs(loaded.model, [[*prompt, *tokens]])
    assert [item.logprob for item in content] == pytest.approx(expected[len(prompt) - 1 :].tolist(), abs=1e-4)
    for item in content:
        values = [top.logprob for top in item.top_logprobs]
        assert len(values) == 3 and values == sorted(values, reverse=True)
        assert item.logprob <= values[0] + 1e-6
    assert (
        b"".join(bytes(item.bytes) for item in content)
        .decode(errors="replace")
        .startswith(answer.choices[0].message.content[:5])
    )


def ids_of(tokenizer, data):
    return next([i] for i in range(tokenizer.vocab_size) if tokenizer.decode_bytes([i]) == data)


def test_completions_continue_texts_and_tokens(client, loaded):
    text = loaded.tokenizer.decode(encode_prompt(loaded.tokenizer, ASK))
    plain = client.completions.create(model="tiny", prompt=["len(s)", "The"], max_tokens=4, temperature=0, n=2)
    assert [choice.index for choice in plain.choices] == [0, 1, 2, 3]
    assert plain.choices[0].text == plain.choices[1].text
    assert plain.usage.prompt_tokens == (1 + 6) + (1 + 3)
    prompt = encode_prompt(loaded.tokenizer, ASK)
    answer = client.completions.create(model="tiny", prompt=prompt, max_tokens=200, temperature=0, logprobs=2)
    assert answer.choices[0].text == ANSWER
    logged = answer.choices[0].logprobs
    assert len(logged.tokens) == len(logged.token_logprobs) == len(logged.top_logprobs) == len(logged.text_offset)
    assert [ANSWER[offset : offset + len(token)] for token, offset in plain_tokens(logged)] == [
        token for token, _ in plain_tokens(logged)
    ]
    assert len(plain_tokens(logged)) > 50
    assert all(math.isfinite(value) for value in logged.token_logprobs)
    echoed = client.completions.create(model="tiny", prompt=prompt, max_tokens=200, temperature=0, echo=True)
    assert echoed.choices[0].text == text + ANSWER
    stream = client.completions.create(
        model="tiny", prompt=[prompt], max_tokens=200, temperature=0, echo=True, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in stream) == text + ANSWER


def test_echo_with_logprobs_scores_the_prompt(client, loaded):
    prompt = encode_prompt(loaded.tokenizer, ASK)
    (expected,) = logprobs(loaded.model, [prompt])
    answer = client.completions.create(model="tiny", prompt=prompt, max_tokens=0, logprobs=3, echo=True)
    logged = answer.choices[0].logprobs
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 0
    assert logged.token_logprobs[0] is None and logged.top_logprobs[0] is None
    assert logged.token_logprobs[1:] == pytest.approx(expected.tolist(), abs=1e-4)
    assert all(len(best) <= 3 and max(best.values()) >= value - 1e-4 for best, value in scored(logged))
    longer = client.completions.create(
        model="tiny", prompt=prompt, max_tokens=5, temperature=0, logprobs=1, echo=True, stream=True
    )
    pieces = [chunk.choices[0] for chunk in longer if chunk.choices]
    streamed = [value for piece in pieces if piece.logprobs for value in piece.logprobs.token_logprobs]
    assert streamed[1 : len(prompt)] == pytest.approx(expected.tolist(), abs=1e-4)
    assert len(streamed) == len(prompt) + 5
    text = client.completions.create(model="tiny", prompt="len(s)", max_tokens=0, logprobs=0, echo=True)
    tokens = [loaded.tokenizer.bos_id, *loaded.tokenizer.encode("len(s)")]
    assert text.choices[0].logprobs.token_logprobs == pytest.approx(
        logprobs(loaded.model, [tokens])[0].tolist(), abs=1e-4
    )


def scored(logged):
    return list(zip(logged.top_logprobs, logged.token_logprobs, strict=True))[1:]


def test_max_tokens_0_without_echo_asks_for_nothing(client):
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        client.completions.create(model="tiny", prompt="a", max_tokens=0)


def plain_tokens(logged):
    """The tokens that are whole characters, with their places in the text."""
    pairs = zip(logged.tokens, logged.text_offset, strict=True)
    return [(token, offset) for token, offset in pairs if not token.startswith(("bytes:", "<|"))]


def test_models_are_listed_and_a_wrong_name_is_404(client):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "athanor"
    for wrong in (
        lambda: client.models.retrieve("gpt-4"),
        lambda: client.chat.completions.create(model="gpt-4", messages=ASK),
        lambda: client.completions.create(model="gpt-4", prompt="a"),
    ):
        with pytest.raises(openai.NotFoundError, match="tiny") as error:
            wrong()
        assert error.value.code == "model_not_found"


def test_a_prompt_beyond_the_context_is_told_so(client):
    long = [{"role": "user", "content": "a" * CONTEXT_LENGTH}]
    with pytest.raises(openai.BadRequestError, match=str(CONTEXT_LENGTH)) as error:
        client.chat.completions.create(model="tiny", messages=long)
    assert error.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as error:
        client.completions.create(model="tiny", prompt="a" * CONTEXT_LENGTH, stream=True)
    assert error.value.code == "context_length_exceeded"


CHAT = {"model": "tiny", "messages": ASK}
JSON = {"content-type": "application/json"}
NAN = b'{"model": "tiny", "temperature": NaN, "messages": [{"role": "user", "content": "a"}]}'


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logit_bias": {"5": 100}}, "logit_bias"),
        ({"temperatur": 1}, "temperatur"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 100}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stop": ""}, "stop"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, "messages.0.role"),
        ({"messages": [{"role": "tool", "content": "a", "tool_call_id": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
        ({"model": None}, "model"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name_in_openais_form(address, changed, param):
    answer = httpx.post(f"{address}/v1/chat/completions", json=CHAT | changed)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] is not None and error["param"].startswith(param)
    assert error["type"] == "invalid_request_error" and error["message"]


def test_parameters_that_ask_for_nothing_are_accepted(client):
    answer = client.chat.completions.create(
        model="tiny",
        messages=ASK,
        temperature=0,
        user="me",
        frequency_penalty=0,
        presence_penalty=0.0,
        logit_bias={},
        response_format={"type": "text"},
        tool_choice="none",
        n=1,
        metadata={"a": "b"},
    )
    assert answer.choices[0].message.content == ANSWER


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"[1]", JSON, 400),
        (b"", JSON, 400),
        (b'{"model": "tiny", "messages": ' + b"[" * 100_000, JSON, 400),
        (
            b'{"model": "tiny", "temperature": NaN, "messages": [{"role": "user", "content": "a"}]}',
            {"content-type": "application/json"},
            400,
        ),
        (json.dumps(CHAT).encode(), {"content-type": "text/plain"}, 400),  # a form of another site could send that
        (b" " * 2_000_000, JSON, 413),
        (json.dumps(CHAT).encode(), JSON | {"origin": "http://evil.example"}, 403),
        (json.dumps(CHAT).encode(), JSON | {"host": "evil.example"}, 403),
    ],
)
def test_bad_bodies_and_strange_pages_get_a_clear_error(address, content, headers, status):
    answer = httpx.post(f"{address}/v1/chat/completions", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_a_body_that_grows_without_a_declared_length_is_cut_off(address):
    def endless():
        for _ in range(100):
            yield b" " * 100_000

    answer = httpx.post(f"{address}/v1/completions", content=endless(), headers=JSON)
    assert answer.status_code == 413


def test_text_that_is_no_unicode_is_harmless(address):
    body = json.dumps(CHAT | {"messages": [{"role": "user", "content": "\ud800"}], "max_tokens": 3})
    answer = httpx.post(f"{address}/v1/chat/completions", content=body, headers=JSON)
    assert answer.status_code in (200, 400)


def test_unknown_paths_and_methods_are_told_in_the_same_form(address):
    assert httpx.get(f"{address}/v1/embeddings").json()["error"]["type"] == "invalid_request_error"
    answer = httpx.get(f"{address}/v1/chat/completions")
    assert answer.status_code == 405 and answer.json()["error"]["message"]


def test_a_stream_is_well_formed_to_the_byte(address):
    body = CHAT | {"stream": True, "temperature": 0, "max_tokens": 3}
    answer = httpx.post(f"{address}/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, rest = answer.text.split("\n\n")
    assert rest == "" and events[-1] == "data: [DONE]"
    for event in events[:-1]:
        assert event.startswith("data: ") and "usage" not in json.loads(event.removeprefix("data: "))


def test_many_clients_at_once_each_get_their_own_answer(client):
    def ask(place):
        if place % 2:
            return client.chat.completions.create(model="tiny", messages=ASK, temperature=0).choices[0].message.content
        messages = [{"role": "user", "content": COUNT_QUESTION}]
        stream = client.chat.completions.create(model="tiny", messages=messages, temperature=0, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(12)))
    assert answers == [ANSWER if place % 2 else COUNT for place in range(12)]


def test_too_many_at_once_are_sent_away_and_a_client_that_leaves_makes_room(slow, serving):
    with serving(slow, Serve(name="tiny", max_waiting=1)) as address:
        body = {"model": "tiny", "messages": [{"role": "user", "content": COUNT_QUESTION}], "temperature": 0}
        with httpx.stream("POST", f"{address}/v1/chat/completions", json=body | {"stream": True}) as first:
            lines = first.iter_lines()  # kept: an iterator that is let go closes its connection
            next(lines)
            refused = httpx.post(f"{address}/v1/chat/completions", json=body)
            assert refused.status_code == 503 and refused.headers["retry-after"]
            assert refused.json()["error"]["code"] == "overloaded"
        assert status_within(address, CHAT | {"max_tokens": 1}, 200, seconds=6)  # the whole answer would take 9 s
        gone = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))
        raw = json.dumps(body).encode()
        gone.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(raw), raw)
        )
        assert status_within(address, CHAT | {"max_tokens": 1}, 503, seconds=6)
        gone.close()
        assert status_within(address, CHAT | {"max_tokens": 1}, 200, seconds=6)


def status_within(address, body, status, seconds):
    """Whether a request gets this status before the time is up."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if httpx.post(f"{address}/v1/chat/completions", json=body).status_code == status:
            return True
        time.sleep(0.05)
    return False


def test_a_model_that_fails_gives_500_and_the_server_lives(slow, serving):
    forward, fail = slow.model.forward, [True]

    def failing(*args):
        if fail[0]:
            raise RuntimeError("broken")
        return forward(*args)

    slow.model.forward = failing
    with serving(slow, Serve(name="tiny")) as address:
        answer = httpx.post(f"{address}/v1/chat/completions", json=CHAT)
        assert answer.status_code == 500 and answer.json()["error"]["type"] == "server_error"
        stream = httpx.post(f"{address}/v1/chat/completions", json=CHAT | {"stream": True})
        assert "error" in stream.text and stream.text.endswith("data: [DONE]\n\n")
        fail[0] = False
        assert httpx.post(f"{address}/v1/chat/completions", json=CHAT | {"max_tokens": 1}).status_code == 200

"""The thread in which the model runs: what comes in gets an end, whatever happens."""

import asyncio

import pytest

from athanor.inference.config import Sampling
from athanor.inference.request import Request
from athanor.inference.text import Piece, end_ids
from athanor.serve.errors import ApiError
from athanor.serve.worker import Finished, Worker
from athanor.tokenizer.chat_template import encode_prompt

QUESTION, ANSWER = "What does len do?", "len(s) returns the number of items of a container: naïve, but 𝄞."


def request(loaded, question=QUESTION) -> Request:
    prompt = encode_prompt(loaded.tokenizer, [{"role": "user", "content": question}])
    return Request(prompt, Sampling(temperature=0), 200, end_ids(loaded.tokenizer), (0,))


async def text_of(answer) -> str:
    return "".join([event.text async for _, event in answer.events() if isinstance(event, Piece)])


def test_requests_beyond_the_rows_wait_and_all_are_answered(loaded):
    async def ask() -> list[str]:
        worker = Worker(loaded, max_rows=2, max_waiting=10)
        worker.start()
        answers = [worker.submit([request(loaded)], ()) for _ in range(7)]
        texts = await asyncio.gather(*map(text_of, answers))
        worker.close()
        return texts

    assert asyncio.run(ask()) == [ANSWER] * 7


def test_one_submission_of_several_tells_them_apart(loaded):
    async def ask() -> dict[int, list[object]]:
        worker = Worker(loaded, max_rows=4, max_waiting=10)
        worker.start()
        seen: dict[int, list[object]] = {}
        async for index, event in worker.submit([request(loaded), request(loaded, "Count.")], ("number",)).events():
            seen.setdefault(index, []).append(event)
        worker.close()
        return seen

    seen = asyncio.run(ask())
    assert all(isinstance(events[-1], Finished) and events[-1].reason == "stop" for events in seen.values())
    assert "".join(event.text for event in seen[0][:-1]) == "len(s) returns the "
    assert "".join(event.text for event in seen[1][:-1]).startswith("0, 1, 2")


def test_what_is_cancelled_makes_room_at_once_waiting_or_running(slow):
    async def ask() -> str:
        worker = Worker(slow, max_rows=1, max_waiting=2)
        worker.start()
        running = worker.submit([request(slow, "Count.")], ())
        waiting = worker.submit([request(slow, "Count.")], ())
        with pytest.raises(ApiError, match="waiting") as refused:
            worker.submit([request(slow)], ())
        assert refused.value.status == 503
        running.cancel()
        waiting.cancel()
        for _ in range(200):
            await asyncio.sleep(0.02)
            try:
                last = worker.submit([request(slow)], ("(",))
            except ApiError:
                continue
            break
        text = await text_of(last)
        running.cancel()  # again: harmless
        worker.close()
        return text

    assert asyncio.run(ask()) == "len"


def test_closing_ends_what_runs_with_an_error_and_takes_nothing_more(slow):
    async def ask() -> None:
        worker = Worker(slow, max_rows=1, max_waiting=4)
        worker.start()
        answers = [worker.submit([request(slow, "Count.")], ()) for _ in range(2)]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(worker.close)
        for answer in answers:
            with pytest.raises(ApiError, match="shutting down"):
                await text_of(answer)
        with pytest.raises(ApiError, match="shutting down"):
            worker.submit([request(slow)], ())

    asyncio.run(ask())

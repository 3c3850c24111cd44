"""Shared beginnings: read once, with the results of reading everything for everyone."""

import dataclasses

import pytest
import torch

from athanor.inference.config import Sampling
from athanor.inference.engine import Engine
from athanor.inference.logprobs import logprobs
from athanor.inference.prefixes import PREFIX_BLOCK, Prefixes
from athanor.inference.request import Request
from athanor.model.config import LstmConfig
from athanor.model.lstm import Lstm
from athanor.model.transformer import Transformer

from .conftest import random_model

HEADER = [(7 * i) % 90 for i in range(3 * PREFIX_BLOCK + 5)]
OTHER = [(11 * i + 3) % 90 for i in range(2 * PREFIX_BLOCK)]
PROMPTS = [
    [*HEADER, 1, 2],
    [*HEADER, 3],
    [*HEADER, 1, 2],
    OTHER,
    [5],
    [*HEADER[: 2 * PREFIX_BLOCK], 9, 9],
    [*OTHER, *range(40)],
    [*HEADER, 3],
    OTHER[:PREFIX_BLOCK],
]


def run(engine, prompts, new_tokens=12, **options):
    tickets = [
        engine.add(Request(prompt, Sampling(), new_tokens, frozenset({0}), (4, index), **options))
        for index, prompt in enumerate(prompts)
    ]
    finished = {}
    while engine.busy:
        finished |= engine.step()
    return [finished[ticket] for ticket in tickets]


@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("max_rows", [1, 3, 16])
def test_completions_with_shared_beginnings_are_those_without(num_kv_heads, max_rows):
    model = random_model(num_kv_heads=num_kv_heads, seed=1)
    shared, alone = Engine(model, max_rows), [Engine(model, prefix_bytes=0) for _ in PROMPTS]
    results = run(shared, PROMPTS)
    for index, (engine, prompt) in enumerate(zip(alone, PROMPTS, strict=True)):
        engine.add(Request(prompt, Sampling(), 12, frozenset({0}), (4, index)))
        finished = {}
        while engine.busy:
            finished |= engine.step()
        assert results[index].tokens == finished[0].tokens
    whole = [[*prompt, *result.tokens] for prompt, result in zip(PROMPTS, results, strict=True)]
    for prompt, result, expected in zip(PROMPTS, results, logprobs(model, whole), strict=True):
        assert (torch.tensor(result.log_probabilities) - expected[len(prompt) - 1 :]).abs().max() < 1e-4
    assert shared.num_read < sum(map(len, PROMPTS)) * 0.6


def test_shared_beginnings_under_a_sliding_window_are_those_of_a_fresh_forward(model):
    windowed = Transformer(dataclasses.replace(model.config, sliding_window=9, window_layers=(0, 2))).eval()
    windowed.load_state_dict(model.state_dict())
    results = run(Engine(windowed, 4), PROMPTS)
    whole = [[*prompt, *result.tokens] for prompt, result in zip(PROMPTS, results, strict=True)]
    for prompt, result, expected in zip(PROMPTS, results, logprobs(windowed, whole), strict=True):
        assert (torch.tensor(result.log_probabilities) - expected[len(prompt) - 1 :]).abs().max() < 1e-4


def test_a_common_beginning_is_read_once(model):
    engine = Engine(model, max_rows=8)
    run(engine, [[*HEADER, index] for index in range(20)])
    assert engine.num_read == len(HEADER) + 1 + 19 * (len(HEADER) + 1 - 3 * PREFIX_BLOCK)


@pytest.mark.parametrize("recurrent", [False, True])
def test_equal_prompts_are_read_once_and_draw_apart(model, recurrent):
    config = LstmConfig(vocab_size=97, context_length=128, num_layers=2, d_model=16)
    engine = Engine(Lstm(config, seed=5).eval() if recurrent else model, max_rows=8)
    results = run(engine, [HEADER] * 8)
    assert engine.num_read == len(HEADER)
    assert len({tuple(result.tokens) for result in results}) > 4


def test_nothing_is_held_once_nobody_waits_for_it(model):
    engine = Engine(model)
    run(engine, PROMPTS)
    assert engine._prefixes.size_bytes == 0
    assert not engine._prefixes._root.below


def test_a_second_turn_reads_only_what_is_new(model):
    engine = Engine(model, remember=True)
    (first,) = run(engine, [HEADER], new_tokens=40)
    before = engine.num_read
    second = [*HEADER, *first.tokens, 1, 2, 3]
    (again,) = run(engine, [second])
    assert engine.num_read - before < PREFIX_BLOCK + 4
    (fresh,) = run(Engine(model), [second])
    assert again.tokens == fresh.tokens


def test_memory_stays_within_its_limit_and_what_was_used_last_stays(model):
    block_bytes = 2 * model.config.num_layers * PREFIX_BLOCK * model.config.num_kv_heads * model.config.head_width * 4
    engine = Engine(model, prefix_bytes=4 * block_bytes, remember=True)
    for start in range(6):
        run(engine, [[(start + i) % 97 for i in range(2 * PREFIX_BLOCK + 1)]], new_tokens=1)
        assert engine._prefixes.size_bytes <= 4 * block_bytes
    before = engine.num_read
    run(engine, [[(5 + i) % 97 for i in range(2 * PREFIX_BLOCK + 1)]], new_tokens=1)
    assert engine.num_read - before == 1


def test_a_trie_tells_texts_apart_and_forgets_its_empty_branches():
    prefixes = Prefixes()
    one, two = list(range(40)), [*range(16), *range(100, 124)]
    nodes_one, nodes_two = prefixes.expect(one), prefixes.expect(two)
    assert nodes_one[0] is nodes_two[0] and nodes_one[1] is not nodes_two[1]
    prefixes.store(nodes_one, lambda start, end: torch.full((2, end - start, 1, 1), float(start)))
    assert prefixes.held(nodes_one) == 1  # the second block is nobody else's
    assert prefixes.held(nodes_two) == 1
    prefixes.release(nodes_one)
    assert prefixes.held(nodes_two) == 1
    prefixes.release(nodes_two)
    assert prefixes.size_bytes == 0 and not prefixes._root.below


def test_a_cancelled_request_lets_go_of_its_beginning(model):
    engine = Engine(model, max_rows=1)
    tickets = [engine.add(Request([*HEADER, index], Sampling(), 5, frozenset(), (index,))) for index in range(3)]
    engine.step()
    for ticket in tickets:
        engine.cancel(ticket)
    assert not engine.busy
    assert engine._prefixes.size_bytes == 0 and not engine._prefixes._root.below

"""What rows have in common is read once for all of them, and every row attends as if it read alone."""

import pytest
import torch
import torch.nn.functional as F

from athanor.inference import shared_beginning
from athanor.inference.config import Sampling
from athanor.inference.engine import Engine
from athanor.inference.logprobs import logprobs
from athanor.inference.request import Request
from athanor.inference.shared_beginning import SharedBeginning


def test_the_join_of_both_parts_is_attention_to_all_positions():
    draw = torch.Generator().manual_seed(0)
    layers, rows, positions, groups, heads, width = 2, 5, 11, 2, 3, 8
    held = torch.randn(2 * layers, rows, positions, groups, width, generator=draw)
    held[:, 2:4, :6] = held[:, :1, :6]  # rows 2 and 3 are copies of row 0, row 4 of row 1
    held[:, 4:, :6] = held[:, 1:2, :6]
    query = torch.randn(rows, groups, heads, width, generator=draw)
    beginning = SharedBeginning.of(torch.cat([held] * 6, dim=2), [0, 1, 0, 0, 1], [6] * 5)
    assert beginning is None, "six positions are too few to be read apart"
    beginning = SharedBeginning(held, [[0, 2, 3], [1, 4]], 6)
    for layer in range(layers):
        keys, values = held[2 * layer : 2 * layer + 2].transpose(2, 3)
        scores = query @ keys[:, :, 6:].mT / width**0.5
        late = scores.softmax(-1) @ values[:, :, 6:]
        joined = beginning.joined(layer, query, late, scores.logsumexp(-1))
        assert torch.allclose(joined, F.scaled_dot_product_attention(query, keys, values), atol=1e-5)


@pytest.mark.parametrize("max_rows", [4, 64])
def test_answers_to_equal_prompts_are_those_of_reading_everything_anew(model, max_rows, monkeypatch):
    monkeypatch.setattr(shared_beginning, "FEWEST_POSITIONS", 4)
    calls = []
    join = SharedBeginning.joined
    monkeypatch.setattr(SharedBeginning, "joined", lambda *given: calls.append(given[1]) or join(*given))
    prompts = [[3, *range(40)], [9, 8, 7, 6, 5], list(range(50, 90, 3))]
    engine = Engine(model, max_rows)
    asked = {}
    for index in range(15):  # answers of 1 to 29 tokens: rows leave while others of their prompt go on
        prompt = prompts[index // 5]
        asked[engine.add(Request(prompt, Sampling(), 1 + 2 * index, frozenset(), (0, index)))] = prompt
    finished = {}
    while engine.busy:
        finished |= engine.step()
    assert calls, "nothing was shared"
    whole = [[*asked[ticket], *made.tokens] for ticket, made in finished.items()]
    for (ticket, made), expected in zip(finished.items(), logprobs(model, whole), strict=True):
        assert torch.allclose(torch.tensor(made.log_probabilities), expected[len(asked[ticket]) - 1 :], atol=1e-4)

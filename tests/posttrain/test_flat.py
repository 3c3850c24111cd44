"""Flat forward passes against the peers' values on the oracle models, gradients included."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from athanor.model import convert
from athanor.model.attention import segments
from athanor.model.transformer import Transformer
from athanor.posttrain import flat, losses
from athanor.posttrain.messages import Conversation, Pair
from athanor.posttrain.sft import held_out_loss, sft_parts


@pytest.fixture(scope="module")
def oracles(fidelity: Path) -> dict[str, Any]:
    return json.loads((fidelity / "posttrain" / "oracles.json").read_text())


@pytest.fixture
def policy(fidelity: Path) -> Transformer:
    return convert.load(fidelity / "posttrain" / "oracle_model" / "policy")


@pytest.fixture
def reference(fidelity: Path) -> Transformer:
    return convert.load(fidelity / "posttrain" / "oracle_model" / "ref").requires_grad_(False)


@pytest.fixture(scope="module")
def pairs(oracles: dict[str, Any]) -> list[Pair]:
    return [Pair(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) for row in oracles["pairs"]]


@pytest.fixture(scope="module")
def conversations(oracles: dict[str, Any]) -> list[Conversation]:
    rows = [(row["prompt_ids"], row["completion_ids"]) for row in oracles["sft"]["examples"]]
    return [Conversation(p + c, [False] * len(p) + [True] * len(c)) for p, c in rows]


def gradient_norm(model: torch.nn.Module) -> float:
    return float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]))


@pytest.mark.parametrize("name", ["policy", "ref"])
def test_sequence_log_probabilities_equal_trl_with_a_shared_prompt(oracles, pairs, fidelity, name):
    model = convert.load(fidelity / "posttrain" / "oracle_model" / name)
    found = flat.pair_log_probabilities(model, pairs).T.flatten().tolist()
    assert found == pytest.approx(oracles["seq_logps"][name], abs=1e-4)


def test_a_shared_prompt_gives_what_two_separate_sequences_give(policy, pairs):
    together = flat.pair_log_probabilities(policy, pairs)
    for column, side in enumerate(("chosen", "rejected")):
        completions = [getattr(pair, side) for pair in pairs]
        prompts = [pair.prompt for pair in pairs]
        hidden = flat.completion_hidden_states(policy, prompts, completions)
        per_token = flat.log_probabilities(policy, hidden, completions)
        apart = torch.stack([part.sum() for part in torch.split(per_token, [len(c) for c in completions])])
        assert torch.allclose(together[:, column], apart, atol=1e-4)


def test_reading_some_places_gives_what_computing_all_of_them_gives(policy, pairs):
    sequences = [pair.prompt + pair.chosen for pair in pairs]
    tokens = torch.tensor([[token for sequence in sequences for token in sequence]])
    everything = policy(tokens, segments([len(sequence) for sequence in sequences]))[0]
    places = [4, 0, 4, tokens.shape[1] - 1]
    assert torch.allclose(flat.hidden_states(policy, sequences, places), everything[places], atol=1e-6)


def test_answers_to_one_prompt_share_it_and_give_what_each_gives_alone(policy):
    prompts = [[1, 5, 9, 3], [1, 5, 9, 3], [1, 5, 9, 3], [1, 5, 9, 3], [2, 7], [1, 5, 9, 3]]
    answers = [[4, 8, 2], [6], [4, 8, 6, 1, 9], [8, 3], [5], [7, 7]]
    for after_last in (False, True):
        together = flat.completion_hidden_states(policy, prompts, answers, after_last)
        apart = [
            policy(torch.tensor([[*prompt, *answer]]), segments([len(prompt) + len(answer)]))[
                0, len(prompt) - 1 : len(prompt) + len(answer) - (not after_last)
            ]
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        assert torch.allclose(together, torch.cat(apart), atol=1e-5)
        gradients = []
        for states in (together, torch.cat(apart)):
            policy.zero_grad()
            states.square().sum().backward()
            gradients.append(policy.blocks[0].qkv.weight.grad.clone())
        assert torch.allclose(*gradients, rtol=1e-4, atol=1e-4)


def test_a_common_prompt_is_computed_once(policy, monkeypatch):
    seen = []
    forward = policy.forward
    monkeypatch.setattr(
        policy, "forward", lambda tokens, *a, **k: seen.append(tokens.numel()) or forward(tokens, *a, **k)
    )
    flat.completion_hidden_states(policy, [[1, 2, 3]] * 4, [[4, 5]] * 4)
    assert seen == [3 + 4 * 1]  # the last token of an answer predicts nothing


CASES = ["sigmoid|0.1", "sigmoid|0.02", "hinge|0.02", "sigmoid_norm|0.1", "sppo_hard|0.02", "apo_zero|0.02"]


@pytest.mark.parametrize("case", CASES)
def test_preference_loss_and_gradient_norm_equal_trl(oracles, policy, reference, pairs, case):
    name, beta = case.split("|")
    expected = oracles["dpo"][f"{name}|beta={beta}|ls=0.0"]
    ratios = flat.pair_log_probabilities(policy, pairs) - flat.pair_log_probabilities(reference, pairs)
    lengths = torch.tensor([(len(pair.chosen), len(pair.rejected)) for pair in pairs])
    loss = losses.dpo_loss(ratios[:, 0], ratios[:, 1], lengths, loss=name, beta=float(beta)).mean()
    loss.backward()
    assert loss.item() == pytest.approx(expected["loss"], abs=1e-5, rel=1e-5)
    assert gradient_norm(policy) == pytest.approx(expected["grad_norm_total"], rel=1e-4)


def test_dpo_gradient_of_single_embeddings_equals_trl(oracles, policy, reference, pairs):
    expected = oracles["dpo"]["sigmoid|beta=0.1|ls=0.0"]["grad_embed_rows"]
    ratios = flat.pair_log_probabilities(policy, pairs) - flat.pair_log_probabilities(reference, pairs)
    losses.dpo_loss(ratios[:, 0], ratios[:, 1], torch.ones(4, 2), loss="sigmoid", beta=0.1).mean().backward()
    for token, row in expected.items():
        assert policy.embedding.weight.grad[int(token), : len(row)].tolist() == pytest.approx(row, abs=1e-5)


@pytest.mark.parametrize(("case", "centering"), [("plain", 0.0), ("centered_0.01", 0.01)])
def test_reward_model_scores_loss_and_gradients_equal_trl(oracles, fidelity, pairs, case, centering):
    trunk, score = convert.load_scorer(fidelity / "posttrain" / "oracle_model" / "rm")
    score.requires_grad_()
    expected = oracles["reward_model"][case]
    scores = flat.pair_scores(trunk, score, pairs)
    loss = losses.bradley_terry_loss(scores[:, 0], scores[:, 1], centering)
    loss.backward()
    assert scores[:, 0].tolist() == pytest.approx(expected["rewards_chosen"], abs=1e-5)
    assert scores[:, 1].tolist() == pytest.approx(expected["rewards_rejected"], abs=1e-5)
    assert loss.item() == pytest.approx(expected["loss"], abs=1e-5)
    assert score.grad[0].tolist() == pytest.approx(expected["score_weight_grad"], abs=1e-4)
    total = torch.nn.utils.get_total_norm([p.grad for p in [*trunk.parameters(), score] if p.grad is not None])
    assert total.item() == pytest.approx(expected["grad_norm_total"], rel=1e-4)


def test_scores_of_single_sequences_and_of_answers_to_one_prompt_equal_those_of_pairs(fidelity, pairs):
    trunk, score = convert.load_scorer(fidelity / "posttrain" / "oracle_model" / "rm")
    of_pairs = flat.pair_scores(trunk, score, pairs)
    prompts = [pair.prompt for pair in pairs for _ in range(2)]
    answers = [answer for pair in pairs for answer in (pair.chosen, pair.rejected)]
    assert torch.allclose(of_pairs.flatten(), flat.completion_scores(trunk, score, prompts, answers), atol=1e-5)
    alone = flat.scores(trunk, score, [pair.prompt + pair.rejected for pair in pairs])
    assert torch.allclose(of_pairs[:, 1], alone, atol=1e-5)


@pytest.mark.parametrize("micro_batch_tokens", [1000, 20, 1])
def test_sft_loss_and_gradient_equal_trl_however_the_batch_is_cut(oracles, policy, conversations, micro_batch_tokens):
    total = 0.0
    for part in sft_parts(policy, conversations, micro_batch_tokens):
        share = part()
        share.loss.backward()
        total += share.loss.item()
    expected = oracles["sft"]
    assert total == pytest.approx(expected["trl_completion_only_loss"], abs=1e-5)
    assert total != pytest.approx(expected["mean_of_per_example_means (WRONG convention check)"], abs=1e-3)
    assert total != pytest.approx(expected["contaminated_packing_loss (must NOT be reproduced)"], abs=1e-3)
    assert gradient_norm(policy) == pytest.approx(expected["grad_norm_total"], rel=1e-4)
    assert held_out_loss(policy, conversations, micro_batch_tokens) == pytest.approx(total, abs=1e-5)


def test_completion_token_log_probabilities_equal_trl(oracles, policy):
    rows = oracles["sft"]["examples"]
    prompts, completions = [row["prompt_ids"] for row in rows], [row["completion_ids"] for row in rows]
    hidden = flat.completion_hidden_states(policy, prompts, completions)
    found = torch.split(flat.log_probabilities(policy, hidden, completions), [len(c) for c in completions])
    for tokens, expected in zip(found, oracles["sft"]["token_logps"], strict=True):
        assert tokens.tolist() == pytest.approx(expected, abs=1e-4)


def test_a_batch_with_every_label_masked_is_an_error(policy):
    with pytest.raises(ValueError, match="every label is masked"):
        list(sft_parts(policy, [Conversation([1, 5, 6], [False] * 3)], 100))


def test_padding_keeps_every_number_in_its_row():
    numbers = torch.arange(1.0, 7.0, requires_grad=True)
    rows, mask = flat.padded(numbers, [3, 1, 2])
    assert rows.tolist() == [[1, 2, 3], [4, 0, 0], [5, 6, 0]]
    assert mask.tolist() == [[True, True, True], [True, False, False], [True, True, False]]
    rows.sum().backward()
    assert numbers.grad.tolist() == [1.0] * 6

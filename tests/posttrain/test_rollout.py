"""What is known of sampled tokens: from the trainer's forward passes, or with the sampler's log-probabilities."""

from pathlib import Path

import pytest
import torch

from athanor.posttrain.model_folder import load_policy
from athanor.posttrain.rollout import Critic, sample_episodes, token_numbers


@pytest.mark.parametrize("own_trunk", [True, False])
@pytest.mark.parametrize("after_last", [True, False])
def test_numbers_with_the_samplers_log_probabilities_are_those_of_the_trainer(
    base: Path, own_trunk: bool, after_last: bool
) -> None:
    policy, tokenizer = load_policy(base)
    reference = load_policy(base)[0]
    with torch.no_grad():
        reference.embedding.weight.mul_(1.1)
    critic = Critic(policy.config.d_model, load_policy(base)[0] if own_trunk else None, torch.device("cpu"))
    torch.nn.init.normal_(critic.head.weight)
    episodes = sample_episodes(policy, tokenizer, [[1, 2, 3], [4], [5, 6]], max_new_tokens=9, seed=3)
    trainer, sampler = (
        token_numbers(policy, reference, critic, episodes, 20, value_after_last=after_last, from_sampler=from_sampler)
        for from_sampler in (False, True)
    )
    assert torch.allclose(sampler.log_probabilities_BT, trainer.log_probabilities_BT, atol=1e-4)
    assert torch.allclose(sampler.reference_BT, trainer.reference_BT, atol=1e-5)
    assert torch.allclose(sampler.values_BT, trainer.values_BT, atol=1e-5)
    assert torch.equal(sampler.mask_BT, trainer.mask_BT)
    assert torch.equal(sampler.value_mask_BT, trainer.value_mask_BT)
    assert sampler.sampler_gap is None
    assert trainer.sampler_gap is not None
    assert trainer.sampler_gap < 1e-4

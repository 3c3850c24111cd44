"""Our side of benchmarks/posttrain.py: the package's own loops on the rows that posttrain_data.py wrote."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from posttrain_rounds import Done, Rounds, Task, rows_of

from athanor.model.transformer import Transformer
from athanor.posttrain import dpo, grpo, judges, ppo, reward_model, rollout, sft
from athanor.posttrain.config import Dpo, Grpo, Ppo, RewardModel, Sft
from athanor.posttrain.messages import Conversation, Pair
from athanor.posttrain.model_folder import load_policy, load_reward_model
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.gradients import Part
from athanor.train.trainer import fit

LR = 1e-6
FOREVER = 1e9  # seconds to the next checkpoint: the peer writes none either


def main() -> None:
    task = Task.given()
    rounds = Rounds(task, torch.cuda.synchronize if torch.cuda.is_available() else lambda: None)
    with tempfile.TemporaryDirectory() as scratch, suppress(Done):
        TASKS[task.name](task, rounds, Path(scratch))


def run_sft(task: Task, rounds: Rounds, out: Path) -> None:
    config = Sft(num_steps=task.all_steps, batch_size=task.batch_size, **training(task))
    model, _ = load_policy(Path(task.folder) / "model", config.precision, config.threads)
    rows = [
        Conversation(prompt + completion, [False] * len(prompt) + [True] * len(completion))
        for prompt, completion in ((row["prompt_ids"], row["completion_ids"]) for row in rows_of(task, "sft"))
    ]

    def parts(step: int) -> Iterator[Part]:
        batch = rows[step * task.batch_size :][: task.batch_size]
        rounds.add(tokens=sum(len(row.tokens) for row in batch), rows=len(batch))
        return sft.sft_parts(model, batch, config.micro_batch_tokens)

    fit(model, parts, config.fit(len(rows)), out, after_step=told(rounds))


def pairs_of(task: Task, name: str) -> list[Pair]:
    """The pairs of a file."""
    return [Pair(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) for row in rows_of(task, name)]


def run_dpo(task: Task, rounds: Rounds, out: Path) -> None:
    config = Dpo(num_steps=task.all_steps, batch_size=task.batch_size, **training(task))
    model, _ = load_policy(Path(task.folder) / "model", config.precision, config.threads)
    pairs = pairs_of(task, task.options.get("rows", "pairs"))
    with_reference = task.options.get("reference") == "in the round"
    stored_P2 = torch.zeros(0, 2)
    if not with_reference:
        stored_P2 = dpo.log_probabilities(model, pairs[: task.all_steps * task.batch_size], config.micro_batch_tokens)
    reference = load_policy(Path(task.folder) / "model", config.precision)[0]

    def parts(step: int) -> Iterator[Part]:
        places = range(step * task.batch_size, (step + 1) * task.batch_size)
        batch = [pairs[i] for i in places]
        rounds.add(pairs=len(batch), tokens=sum(2 * len(p.prompt) + len(p.chosen) + len(p.rejected) for p in batch))
        if with_reference:
            reference_B2 = dpo.log_probabilities(reference, batch, config.micro_batch_tokens)
        else:
            reference_B2 = stored_P2[list(places)]
        yield from dpo.dpo_parts(model, batch, reference_B2, config)

    fit(model, parts, config.fit(len(pairs)), out, after_step=told(rounds))


def run_reward_model(task: Task, rounds: Rounds, out: Path) -> None:
    config = RewardModel(num_steps=task.all_steps, batch_size=task.batch_size, **training(task))
    trunk, _ = load_policy(Path(task.folder) / "model", config.precision, config.threads)
    scorer = reward_model.Scorer(trunk, config.seed)
    pairs = pairs_of(task, "pairs")

    def parts(step: int) -> Iterator[Part]:
        batch = pairs[step * task.batch_size :][: task.batch_size]
        rounds.add(pairs=len(batch), tokens=sum(2 * len(p.prompt) + len(p.chosen) + len(p.rejected) for p in batch))
        return reward_model.reward_parts(scorer, batch, config)

    fit(scorer, parts, config.fit(len(pairs)), out, after_step=told(rounds))


def models_and_prompts(task: Task) -> tuple[Transformer, Tokenizer, Transformer, judges.RewardModel, list[list[int]]]:
    """Policy with its tokenizer, reference, reward model and prompts of PPO and GRPO."""
    folder = Path(task.folder)
    policy, tokenizer = load_policy(folder / "model", task.precision, task.threads)
    reference = load_policy(folder / "model", task.precision)[0].requires_grad_(False)
    prompts = [row["prompt_ids"] for row in rows_of(task, "prompts")]
    return policy, tokenizer, reference, load_reward_model(folder / "reward_model"), prompts


def run_ppo(task: Task, rounds: Rounds, out: Path) -> None:
    config = Ppo(
        num_updates=task.all_steps,
        batch_size=task.batch_size,
        num_epochs=2,
        num_minibatches=2,
        max_new_tokens=task.options["new_tokens"],
        value_network=task.options.get("value_network", "own"),
        max_policy_kl=None,
        old_log_probabilities="sampler",  # as TRL
        lr_peak=LR,
        value_lr_peak=LR,
        precision=task.precision,
        threads=task.threads,
    )
    policy, tokenizer, reference, judge, prompts = models_and_prompts(task)
    state = ppo.begin(config, policy, Path(task.folder) / "model")
    for update in range(task.all_steps):
        asked = prompts[update * task.batch_size :][: task.batch_size]
        numbers = ppo.one_update(config, state, reference, judge, tokenizer, asked, update)
        rounds.add(episodes=len(asked), tokens=numbers["length"] * len(asked))
        rounds.step_done()


def run_grpo(task: Task, rounds: Rounds, out: Path) -> None:
    group_size = task.options["group_size"]
    config = Grpo(
        num_updates=task.all_steps,
        num_prompts=task.batch_size // group_size,
        group_size=group_size,
        num_epochs=1,
        num_minibatches=1,
        max_new_tokens=task.options["new_tokens"],
        kl_coefficient=task.options["kl_coefficient"],
        max_policy_kl=None,
        old_log_probabilities="sampler",  # as TRL
        lr_peak=LR,
        precision=task.precision,
        threads=task.threads,
    )
    policy, tokenizer, reference, judge, prompts = models_and_prompts(task)
    state = grpo.begin(config, policy)
    for update in range(task.all_steps):
        chosen = prompts[update * config.num_prompts :][: config.num_prompts]
        asked = [prompt for prompt in chosen for _ in range(group_size)]
        numbers = grpo.one_update(config, state, policy, reference, judge, tokenizer, asked, update)
        rounds.add(episodes=len(asked), tokens=numbers["length"] * len(asked))
        rounds.step_done()


def run_rollouts(task: Task, rounds: Rounds, out: Path) -> None:
    model, tokenizer = load_policy(Path(task.folder) / "model", task.precision, task.threads)
    prompts = [row["prompt_ids"] for row in rows_of(task, "prompts")]
    for step in range(task.all_steps):
        asked = [prompts[i % len(prompts)] for i in range(step * task.batch_size, (step + 1) * task.batch_size)]
        made = rollout.sample_episodes(model, tokenizer, asked, task.options["new_tokens"], seed=step)
        rounds.add(tokens=sum(len(episode.completion) for episode in made))
        rounds.step_done()


def training(task: Task) -> dict[str, Any]:
    """Settings that SFT, reward models and DPO share."""
    return {
        "lr_peak": LR,
        "max_epochs": 1e9,
        "precision": task.precision,
        "threads": task.threads,
        "checkpoint_seconds": FOREVER,
    }


def told(rounds: Rounds) -> Callable[[int], dict[str, float]]:
    """The hook of the training loop."""

    def after_step(done: int) -> dict[str, float]:
        rounds.step_done()
        return {}

    return after_step


TASKS: dict[str, Callable[[Task, Rounds, Path], None]] = {
    "sft": run_sft,
    "dpo": run_dpo,
    "reward_model": run_reward_model,
    "ppo": run_ppo,
    "grpo": run_grpo,
    "rollouts": run_rollouts,
}

if __name__ == "__main__":
    main()

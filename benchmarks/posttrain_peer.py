"""TRL's side of benchmarks/posttrain.py, run by an interpreter that has trl: 1.16, and 1.12 for PPO.

Settings are TRL's own but for those that cost it time here: no gradient checkpointing, no reports, no checkpoints. Data
come as tokens where a trainer takes them; DPO's are handed past its tokenization. Rows are read in order, so that every
step has the rows that ours has. GRPO takes prompts as text only and tokenizes them in every step.
"""

import os

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import contextlib
import tempfile
from collections.abc import Callable
from typing import Any

import torch
import transformers
from datasets import Dataset
from posttrain_rounds import Done, Rounds, Task, rows_of
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback

LR = 1e-6


def main() -> None:
    task = Task.given()
    rounds = Rounds(task, torch.cuda.synchronize if torch.cuda.is_available() else lambda: None)
    torch.set_num_threads(task.threads)
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as scratch, contextlib.suppress(Done):
        TASKS[task.name](task, rounds, scratch)


class Turns(TrainerCallback):
    """Tells the clock of every optimizer step, and what it worked on."""

    def __init__(self, rounds: Rounds, units: Callable[[int], dict[str, float]]) -> None:
        self._rounds, self._units = rounds, units

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._rounds.add(**self._units(state.global_step - 1))
        self._rounds.step_done()


def common(task: Task, scratch: str) -> dict[str, Any]:
    """Arguments of every trainer."""
    return {
        "output_dir": scratch,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": task.precision == "bfloat16",
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "learning_rate": LR,
        "per_device_train_batch_size": task.batch_size,
    }


def ordered(task: Task, scratch: str) -> dict[str, Any]:
    """Arguments of trainers that read rows in order."""
    return common(task, scratch) | {"max_steps": task.all_steps, "train_sampling_strategy": "sequential"}


def model_of(task: Task) -> Any:
    return AutoModelForCausalLM.from_pretrained(f"{task.folder}/model", dtype=torch.float32)


def scorer_of(task: Task, folder: str) -> Any:
    model = AutoModelForSequenceClassification.from_pretrained(
        f"{task.folder}/{folder}", num_labels=1, dtype=torch.float32
    )
    model.config.pad_token_id = tokenizer_of(task).pad_token_id
    return model


def tokenizer_of(task: Task) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(f"{task.folder}/tokenizer")
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def counted(task: Task, rows: list[dict[str, Any]], names: tuple[str, ...]) -> Callable[[int], dict[str, float]]:
    """Rows and real tokens of a step, without padding; a pair's prompt counts twice, as without sharing."""

    def units(step: int) -> dict[str, float]:
        batch = rows[step * task.batch_size :][: task.batch_size]
        tokens = sum(len(row[name]) for row in batch for name in names)
        return {"tokens": tokens, ("pairs" if "chosen_ids" in names else "rows"): len(batch)}

    return units


def run_sft(task: Task, rounds: Rounds, scratch: str) -> None:
    from trl import SFTConfig, SFTTrainer

    rows = rows_of(task, "sft")
    data = Dataset.from_list(
        [
            {
                "input_ids": row["prompt_ids"] + row["completion_ids"],
                "completion_mask": [0] * len(row["prompt_ids"]) + [1] * len(row["completion_ids"]),
            }
            for row in rows
        ]
    )
    SFTTrainer(
        model_of(task),
        SFTConfig(**ordered(task, scratch), completion_only_loss=True, max_length=None),
        train_dataset=data,
        processing_class=tokenizer_of(task),
        callbacks=[Turns(rounds, counted(task, rows, ("prompt_ids", "completion_ids")))],
    ).train()


def run_dpo(task: Task, rounds: Rounds, scratch: str) -> None:
    from trl import DPOConfig, DPOTrainer

    class OfTokens(DPOTrainer):
        def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
            return dataset

    rows = rows_of(task, task.options.get("rows", "pairs"))
    OfTokens(
        model_of(task),
        args=DPOConfig(
            **ordered(task, scratch),
            max_length=None,
            precompute_ref_log_probs=task.options.get("reference") == "stored",
        ),
        train_dataset=Dataset.from_list(rows[: task.all_steps * task.batch_size]),
        processing_class=tokenizer_of(task),
        callbacks=[Turns(rounds, counted(task, rows, ("prompt_ids", "chosen_ids", "prompt_ids", "rejected_ids")))],
    ).train()


def run_reward_model(task: Task, rounds: Rounds, scratch: str) -> None:
    from trl import RewardConfig, RewardTrainer

    rows = rows_of(task, "pairs")
    sides = [{side: row["prompt_ids"] + row[side] for side in ("chosen_ids", "rejected_ids")} for row in rows]
    RewardTrainer(
        scorer_of(task, "reward_model"),
        RewardConfig(**ordered(task, scratch), max_length=None),
        train_dataset=Dataset.from_list(sides),
        processing_class=tokenizer_of(task),
        callbacks=[Turns(rounds, counted(task, sides, ("chosen_ids", "rejected_ids")))],
    ).train()


def run_grpo(task: Task, rounds: Rounds, scratch: str) -> None:
    from trl import GRPOConfig, GRPOTrainer

    group_size = task.options["group_size"]
    tokenizer = tokenizer_of(task)
    GRPOTrainer(
        model_of(task),
        reward_funcs=scorer_of(task, "reward_model"),
        args=GRPOConfig(
            **common(task, scratch),
            max_steps=task.all_steps,
            num_generations=group_size,
            steps_per_generation=1,
            num_iterations=1,
            beta=task.options["kl_coefficient"],
            max_completion_length=task.options["new_tokens"],
            shuffle_dataset=False,
            use_vllm=task.options.get("rollouts") == "vllm",
        ),
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in rows_of(task, "prompts")]),
        processing_class=tokenizer,
        reward_processing_classes=tokenizer,
        callbacks=[Turns(rounds, lambda step: {"episodes": task.batch_size})],
    ).train()


def run_ppo(task: Task, rounds: Rounds, scratch: str) -> None:
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    data = Dataset.from_list([{"input_ids": row["prompt_ids"]} for row in rows_of(task, "prompts")])
    PPOTrainer(
        args=PPOConfig(
            **common(task, scratch),
            num_mini_batches=2,
            num_ppo_epochs=2,
            total_episodes=task.all_steps * task.batch_size,
            response_length=task.options["new_tokens"],
            num_sample_generations=0,
            temperature=1.0,
            stop_token="eos",
        ),
        processing_class=tokenizer_of(task),
        model=model_of(task),
        ref_model=model_of(task),
        reward_model=scorer_of(task, "reward_model"),
        value_model=scorer_of(task, "reward_model"),
        train_dataset=data,
        eval_dataset=data.select(range(2)),
        callbacks=[Turns(rounds, lambda step: {"episodes": task.batch_size})],
    ).train()


def run_rollouts(task: Task, rounds: Rounds, scratch: str) -> None:
    tokenizer = tokenizer_of(task)
    prompts = [row["prompt_ids"] for row in rows_of(task, "prompts")]
    answer = vllm_of(task) if task.options.get("engine") == "vllm" else generate_of(task, tokenizer)
    for step in range(task.all_steps):
        asked = [prompts[i % len(prompts)] for i in range(step * task.batch_size, (step + 1) * task.batch_size)]
        rounds.add(tokens=answer(asked))
        rounds.step_done()


def generate_of(task: Task, tokenizer: Any) -> Callable[[list[list[int]]], int]:
    """transformers' `generate`; the number of new tokens up to the end of each answer."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(f"{task.folder}/model", dtype=getattr(torch, task.precision)).to(
        device
    )
    ends = model.generation_config.eos_token_id

    def answer(asked: list[list[int]]) -> int:
        batch = tokenizer.pad({"input_ids": asked}, padding_side="left", return_tensors="pt").to(device)
        with torch.inference_mode():
            made = model.generate(
                **batch, max_new_tokens=task.options["new_tokens"], do_sample=True, top_k=0, top_p=1.0
            )[:, batch["input_ids"].shape[1] :]
        ended = torch.isin(made, torch.tensor(ends, device=device)).int()
        return int((ended.cumsum(1) == ended).sum())  # up to the first end, itself included

    return answer


def vllm_of(task: Task) -> Callable[[list[list[int]]], int]:
    """vLLM on the same folder."""
    from vllm import LLM, SamplingParams

    engine = LLM(f"{task.folder}/model", dtype=task.precision)
    options = SamplingParams(temperature=1.0, max_tokens=task.options["new_tokens"], logprobs=0)

    def answer(asked: list[list[int]]) -> int:
        made = engine.generate([{"prompt_token_ids": prompt} for prompt in asked], options, use_tqdm=False)
        return sum(len(one.outputs[0].token_ids) for one in made)

    return answer


TASKS: dict[str, Callable[[Task, Rounds, str], None]] = {
    "sft": run_sft,
    "dpo": run_dpo,
    "reward_model": run_reward_model,
    "ppo": run_ppo,
    "grpo": run_grpo,
    "rollouts": run_rollouts,
}

if __name__ == "__main__":
    main()

"""Fine-tuning from any folder: templates, rows that are refused, noise, and low-rank adapters."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from athanor.core.artifact import read_jsonl, write_jsonl
from athanor.model import convert
from athanor.model.attention import causal
from athanor.model.transformer import Transformer
from athanor.posttrain import dpo, reward_model, sft
from athanor.posttrain.config import Dpo, RewardModel, Sft
from athanor.posttrain.flat import pair_log_probabilities
from athanor.posttrain.messages import Conversation, Pair
from athanor.posttrain.model_folder import fit_vocabulary, load_policy, save_policy
from athanor.tokenizer.chat_template import encode_conversation, encode_prompt
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train import checkpoint
from athanor.train.gradients import Share
from athanor.train.lora import add_adapters, merged
from athanor.train.lora_config import Lora
from athanor.train.noise import add_embedding_noise, seeded

from .conftest import conversation, folder_bytes
from .test_steps import Killed, killed_after

SFT = Sft(num_steps=4, batch_size=4, num_samples=2, num_held_out=4, max_new_tokens=4, evaluate_every=2, lr_peak=1e-2)
QUESTION = [{"role": "user", "content": "What is join?"}]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, base: Path) -> Path:
    """A base model of another family: no chat template, no begin of text, padding rows in its vocabulary."""
    vocabulary = replace(tokenizer.vocabulary, special_tokens={"</s>": 256})
    bare = Tokenizer(vocabulary, eos_token="</s>")
    made, folder = tmp_path_factory.mktemp("bare"), tmp_path_factory.mktemp("foreign")
    bare.save(made)
    model = convert.load(base)
    save_policy(model, made, folder)
    return folder


def logits(model: Transformer, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        hidden = model(torch.tensor([tokens]), causal(1, len(tokens)))
        return model.logits(hidden)[0]


def test_any_base_learns_any_template_and_keeps_it(foreign: Path, conversations: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no chat template; choose one by name.*chatml"):
        sft.run(SFT, {"model": foreign, "conversations": conversations}, tmp_path / "none")
    metrics = sft.run(
        replace(SFT, chat_template="chatml"), {"model": foreign, "conversations": conversations}, tmp_path
    )
    assert metrics["held_out_loss"] < metrics["held_out_loss_before"]
    tokenizer = Tokenizer.load(tmp_path)
    assert "<|im_start|>" in tokenizer.special_tokens
    assert convert.read_config(tmp_path).vocab_size == tokenizer.vocab_size
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ids = theirs.apply_chat_template(QUESTION, add_generation_prompt=True, return_dict=False)
    assert ids == encode_prompt(tokenizer, QUESTION)
    expected = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)(torch.tensor([ids])).logits[0]
    assert torch.allclose(logits(load_policy(tmp_path)[0], ids), expected, atol=1e-4)


def test_new_tokens_start_as_the_mean_and_padding_rows_go(base: Path) -> None:
    model = convert.load(base)
    before = model.embedding.weight.detach().clone()
    fit_vocabulary(model, len(before) + 2)
    assert torch.equal(model.embedding.weight[:-2], before)
    assert torch.allclose(model.embedding.weight[-1], before.mean(0))
    fit_vocabulary(model, 10)
    assert torch.equal(model.embedding.weight, before[:10])
    assert logits(model, [1, 2]).shape == (2, 10)


def test_a_tokenizer_larger_than_the_model_is_refused(base: Path, tmp_path: Path) -> None:
    for path in base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    raw = json.loads((tmp_path / "tokenizer.json").read_text())
    raw["added_tokens"].append({**raw["added_tokens"][0], "content": "<|more|>", "id": 9999})
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    with pytest.raises(ValueError, match=r"the tokenizer has 10000 tokens, the model only 262"):
        load_policy(tmp_path)


def test_rows_that_cannot_be_learned_are_counted_and_listed(base: Path, conversations: Path, tmp_path: Path) -> None:
    good = conversation("join", "page")
    question, answer = good["messages"]
    bad = [
        {"messages": [question]},
        {"messages": [question, question, answer]},
        {"messages": [question, {**answer, "content": " "}]},
        {"messages": [{**question, "content": "x" * 300}, answer]},
    ]
    data = tmp_path / "data"
    data.mkdir()
    write_jsonl(data / "sft.jsonl", [bad[0], good, *bad[1:]])
    write_jsonl(data / "test.jsonl", [good])
    out = tmp_path / "out"
    metrics = sft.run(SFT, {"model": base, "conversations": data}, out)
    assert metrics["conversations"] == 1
    assert metrics["conversations_all_masked"] == 1
    assert sorted(metrics["left_out"].values()) == [1, 1, 1, 1]
    assert [row["row"] for row in read_jsonl(out / "skipped.jsonl")] == [1, 3, 4, 5]
    write_jsonl(data / "sft.jsonl", bad[:1])
    with pytest.raises(ValueError, match=r"no conversation to learn from .*every label is masked"):
        sft.run(SFT, {"model": base, "conversations": data}, tmp_path / "none")


def test_loss_on_all_tokens_or_the_last_answer_by_name(tokenizer: Tokenizer) -> None:
    rows = [*QUESTION, {"role": "assistant", "content": "A."}, *QUESTION, {"role": "assistant", "content": "B."}]
    counts = {name: sum(encode_conversation(tokenizer, rows, name).loss_mask) for name in ("completions", "all")}
    assert counts["completions"] == 2 * 3
    assert counts["all"] == len(encode_conversation(tokenizer, rows).tokens) - 1
    assert sum(encode_conversation(tokenizer, rows, "last_completion").loss_mask) == 3


def test_packed_loss_equals_that_of_each_conversation_alone(base: Path, tokenizer: Tokenizer) -> None:
    model = convert.load(base)
    encoded = [encode_conversation(tokenizer, conversation(name, "p")["messages"]) for name in ("join", "a", "move")]
    rows = [Conversation(one.tokens, one.loss_mask) for one in encoded]
    alone = sum(
        float(-logits(model, row.tokens[:-1]).log_softmax(-1)[range(len(row.tokens) - 1), row.tokens[1:]][i])
        for row in rows
        for i in range(len(row.tokens) - 1)
        if row.loss_mask[i + 1]
    )
    total = sum(row.num_completion_tokens for row in rows)
    assert sft.held_out_loss(model, rows, 10_000) == pytest.approx(alone / total, abs=1e-5)
    assert sft.held_out_loss(model, rows, 1) == pytest.approx(alone / total, abs=1e-5)


def test_noise_is_of_the_published_size_in_training_only_and_the_same_when_drawn_again(base: Path) -> None:
    model = convert.load(base)
    plain = model.embedding(torch.arange(50)[None]).detach()
    add_embedding_noise(model.embedding, alpha=5.0)
    drawn: list[torch.Tensor] = []

    def part() -> Share:
        drawn.append(model.embedding(torch.arange(50)[None]).detach() - plain)
        return Share(torch.zeros(()), 50)

    for step in (3, 4, 3):
        for one in seeded([part, part], seed=0, step=step):
            one()
    bound = 5.0 / (50 * model.config.d_model) ** 0.5
    assert drawn[0].abs().max() <= bound
    assert drawn[0].std() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert torch.equal(drawn[0], drawn[4])
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(model.embedding(torch.arange(50)[None]), plain)


def test_adapters_start_as_the_base_and_merge_to_what_they_compute(base: Path) -> None:
    model = convert.load(base)
    tokens = list(range(40, 60))
    before = logits(model, tokens)
    add_adapters(model, Lora(rank=3, targets=("q_proj", "v_proj", "gate_proj", "down_proj")), seed=0)
    assert torch.equal(logits(model, tokens), before)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(trained) == 2 * 4 * 2
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".b." in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    changed = logits(model, tokens)
    assert (changed - before).abs().max() > 0.01
    plain = merged(model)
    assert {name for name, _ in plain.named_parameters()} == {name for name, _ in convert.load(base).named_parameters()}
    assert torch.allclose(logits(plain, tokens), changed, atol=1e-5)


ADAPTED = replace(SFT, lora=Lora(rank=2, dropout=0.2), neftune_alpha=5.0, checkpoint_seconds=0.0)


def test_sft_with_adapters_and_noise_resumes_to_the_same_bytes(
    base: Path, conversations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {"model": base, "conversations": conversations}
    metrics = sft.run(ADAPTED, inputs, tmp_path / "whole")
    assert metrics["held_out_loss"] < metrics["held_out_loss_before"]
    assert metrics["parameters_trained"] < sum(p.numel() for p in convert.load(base).parameters()) / 2
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", killed_after(2, checkpoint.save))
        with pytest.raises(Killed):
            sft.run(ADAPTED, inputs, tmp_path / "killed")
    sft.run(ADAPTED, inputs, tmp_path / "killed")
    assert folder_bytes(tmp_path / "killed") == folder_bytes(tmp_path / "whole")


def test_peft_reads_the_adapters_and_computes_the_same(base: Path, conversations: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    sft.run(ADAPTED, {"model": base, "conversations": conversations}, tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    theirs = peft.PeftModel.from_pretrained(model, tmp_path / "adapter").eval()
    tokens = list(range(40, 60))
    with torch.no_grad():
        expected = theirs(torch.tensor([tokens])).logits[0]
    assert torch.allclose(logits(convert.load(tmp_path), tokens), expected, atol=1e-4)


def test_reward_models_and_dpo_train_adapters_too(base: Path, tmp_path: Path) -> None:
    rows = [
        {
            "prompt": conversation(name, "p")["messages"][:1],
            "chosen": f"{name} it",
            "rejected": "no",
            "rejected_kind": "x",
        }
        for name in ("join", "split", "read", "move")
    ]
    data = tmp_path / "preferences"
    data.mkdir()
    write_jsonl(data / "proxy.jsonl", rows[:-1])
    write_jsonl(data / "held_out.jsonl", rows[-1:])
    inputs = {"model": base, "preferences": data}
    lora = Lora(rank=2)
    reward_model.run(RewardModel(num_steps=2, batch_size=2, max_epochs=4, lora=lora), inputs, tmp_path / "rm")
    dpo.run(
        Dpo(num_steps=4, batch_size=2, max_epochs=4, lora=lora, num_checkpoints=1, lr_peak=1e-2),
        inputs,
        tmp_path / "dpo",
    )
    for name in ("rm", "dpo"):
        assert json.loads((tmp_path / name / "adapter" / "adapter_config.json").read_text())["r"] == 2
    assert convert.load_scorer(tmp_path / "rm")[1].shape == (1, 32)
    policy, reference = convert.load(tmp_path / "dpo"), convert.load(base)
    pairs = [Pair([1, 2], [3, 4], [5])]
    assert not torch.equal(pair_log_probabilities(policy, pairs), pair_log_probabilities(reference, pairs))
    assert torch.equal(policy.embedding.weight, reference.embedding.weight)

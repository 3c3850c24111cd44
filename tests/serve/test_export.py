"""An exported folder is the same model in transformers: logits, token ids, chat text, answers."""

import json
import shutil
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from athanor.core.artifact import Manifest, write_manifest
from athanor.inference.config import Sampling
from athanor.inference.text import complete
from athanor.model import convert
from athanor.model.attention import causal
from athanor.model.transformer import Transformer
from athanor.serve.export import export
from athanor.serve.loaded import load_model
from athanor.tokenizer.chat_template import encode_conversation, encode_prompt, render

QUESTION = "What does len do?"
TEXTS = [
    "",
    "Hello, world!",
    "naïve 𝄞 日本語\n\n\ttabs  and   spaces ",
    "<|user|> is text here",
    "x" * 50,
    "don't 12345",
]
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": QUESTION},
    {"role": "assistant", "content": "len(s) counts."},
    {"role": "user", "content": "And é?"},
]


@pytest.fixture(scope="module")
def exported(model_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "deep" / "tiny"
    export(model_folder, folder, name="tiny")
    return folder


def test_transformers_computes_the_same_logits(exported, loaded):
    theirs = AutoModelForCausalLM.from_pretrained(exported)
    assert type(theirs).__name__ == "Qwen3ForCausalLM"
    tokens = torch.randint(loaded.model.config.vocab_size, (3, 60), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = loaded.model.logits(loaded.model(tokens, causal(3, 60)))
        difference = (ours - theirs(tokens).logits).abs().max().item()
    assert difference < 1e-4


def test_transformers_tokenizes_identically(exported, loaded):
    theirs = AutoTokenizer.from_pretrained(exported)
    for text in TEXTS:
        assert theirs.encode(text, add_special_tokens=False, split_special_tokens=True) == loaded.tokenizer.encode(text)
    assert theirs.bos_token_id == loaded.tokenizer.bos_id
    assert theirs.eos_token_id == loaded.tokenizer.eos_id


def test_the_chat_template_renders_the_same_text_and_ids(exported, loaded):
    theirs = AutoTokenizer.from_pretrained(exported)
    text = theirs.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert text == render(MESSAGES, add_generation_prompt=True)
    ids = theirs.apply_chat_template(MESSAGES, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ids == encode_prompt(loaded.tokenizer, MESSAGES)
    whole = theirs.apply_chat_template(MESSAGES[:3], return_dict=True)["input_ids"]
    assert whole == encode_conversation(loaded.tokenizer, MESSAGES[:3]).tokens


def test_transformers_gives_the_same_answer_and_stops_where_we_stop(exported, loaded):
    prompt = encode_prompt(loaded.tokenizer, [{"role": "user", "content": QUESTION}])
    (ours,) = complete(loaded.model, loaded.tokenizer, [prompt], Sampling(temperature=0), 120, seed=0)
    theirs = AutoModelForCausalLM.from_pretrained(exported)
    tokens = theirs.generate(torch.tensor([prompt]), max_new_tokens=120, do_sample=False)[0, len(prompt) :].tolist()
    assert tokens == ours.generation.tokens
    assert ours.generation.finish_reason == "stop"


def manifest(name, inputs, **metrics):
    return Manifest(
        name=name, kind=f"test.{name}", version=1, fingerprint=f"{name}0123456789abcdef0123", config={}, runtime={},
        inputs={key: f"{key}0123456789abcdef0123" for key in inputs}, metrics=metrics, files=[], code={}, libraries={},
        device={}, argv=[], seed=0, started=f"2026-01-0{len(inputs) + 1}", ended="", seconds=1.0, peak_memory_bytes=1,
        input_folders={key: f"{key}-0123" for key in inputs},
    )  # fmt: skip


def test_the_card_tells_the_lineage_of_every_step(model_folder, tmp_path):
    run = tmp_path / "run"
    source = shutil.copytree(model_folder, run / "dpo-0123")
    for name, inputs in (("crawl", []), ("sft", ["crawl"]), ("dpo", ["crawl", "sft"])):
        (run / f"{name}-0123").mkdir(exist_ok=True)
        write_manifest(run / f"{name}-0123", manifest(name, inputs, loss=0.25))
    export(source, tmp_path / "out", name="quickstart")
    card = (tmp_path / "out" / "README.md").read_text()
    assert (
        card.index("| crawl |")
        < card.index("| sft |")
        < card.index("| dpo | test.dpo | `dpo0123456789abc` | crawl, sft |")
    )
    assert "# quickstart" in card and '"loss": 0.25' in card
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert asdict(manifest("dpo", []))  # the helper above is a whole manifest


def test_a_folder_without_manifest_says_so_in_its_card(exported):
    assert "has no manifest" in (exported / "README.md").read_text()
    assert json.loads((exported / "generation_config.json").read_text())["eos_token_id"]


def test_only_an_earlier_export_is_ever_replaced(model_folder, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years")
    with pytest.raises(ValueError, match="holds other files"):
        export(model_folder, precious, overwrite=True)
    assert (precious / "thesis.tex").exists()
    (tmp_path / "empty").mkdir()
    export(model_folder, tmp_path / "empty")
    with pytest.raises(ValueError, match="--overwrite"):
        export(model_folder, tmp_path / "empty")
    export(model_folder, tmp_path / "empty", overwrite=True)
    with pytest.raises(ValueError, match="is a file"):
        export(model_folder, precious / "thesis.tex")
    with pytest.raises(ValueError, match="holds other files"):
        export(model_folder, model_folder, overwrite=True)


def test_a_damaged_model_is_not_exported(model_folder, tmp_path):
    source = shutil.copytree(model_folder, tmp_path / "model")
    tensors = load_file(source / "model.safetensors")
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="not finite in final_norm"):
        export(source, tmp_path / "out")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"architectures": ["Qwen3ForSequenceClassification"]}))
    with pytest.raises(ValueError, match="Qwen3ForSequenceClassification"):
        export(source, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_llama_with_shared_embeddings_is_exported_as_one(tmp_path, loaded):
    config = replace(loaded.model.config, qk_norm=False, tied_embeddings=True)
    model = Transformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=0.1)
    convert.save(model, tmp_path / "model")
    loaded.tokenizer.save(tmp_path / "model")
    export(tmp_path / "model", tmp_path / "out")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert type(theirs).__name__ == "LlamaForCausalLM"
    tokens = torch.arange(1, 50)[None]
    with torch.no_grad():
        difference = (model.logits(model(tokens, causal(1, 49))) - theirs(tokens).logits).abs().max().item()
    assert difference < 1e-4


def test_a_tokenizer_of_another_model_is_noticed(tmp_path, loaded):
    convert.save(Transformer(replace(loaded.model.config, vocab_size=100)), tmp_path / "model")
    loaded.tokenizer.save(tmp_path / "model")
    with pytest.raises(ValueError, match="do not belong together"):
        export(tmp_path / "model", tmp_path / "out")


def test_rows_of_the_vocabulary_that_are_no_token_are_never_drawn(tmp_path, loaded):
    num_tokens = loaded.tokenizer.vocab_size
    padded = Transformer(replace(loaded.model.config, vocab_size=num_tokens + 56))
    with torch.no_grad():
        for parameter in padded.parameters():
            parameter.normal_(std=0.1)
    convert.save(padded, tmp_path / "model")
    loaded.tokenizer.save(tmp_path / "model")
    read = load_model(tmp_path / "model", "padded")
    tokens = torch.arange(1, 20)[None]
    with torch.no_grad():
        whole = padded.logits(padded(tokens, causal(1, 19)))
        assert torch.equal(read.model.logits(read.model(tokens, causal(1, 19))), whole[..., :num_tokens])

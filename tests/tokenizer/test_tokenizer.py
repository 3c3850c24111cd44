import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as PeerTokenizer
from transformers import AutoTokenizer

from athanor.core.artifact import read_jsonl
from athanor.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer

with_special_names = st.lists(
    st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), st.sampled_from([*SPECIAL_TOKENS, "<|"])),
    max_size=8,
).map("".join)


def test_gpt2_gives_the_published_ids(fidelity):
    gpt2 = Tokenizer.load(fidelity / "tokenizer")
    rows = list(read_jsonl(fidelity / "tokenizer" / "gpt2_oracle.jsonl"))
    assert len(rows) == 203
    for row in rows:
        assert gpt2.encode(row["text"]) == row["ids"], row["kind"]
        assert gpt2.decode(row["ids"]) == row["text"], row["kind"]


@given(text=st.text(st.characters(exclude_categories=["Cs"])) | with_special_names)
def test_decoding_gives_any_text_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode_with_special(text)) == text


@given(data=st.binary())
def test_every_byte_string_is_made_of_tokens(tokenizer, data):
    ids = [int(tokenizer.vocabulary.ids[byte]) for byte in data]
    assert tokenizer.decode_bytes(ids) == data
    assert tokenizer.decode(ids) == data.decode("utf-8", "replace")


def test_surrogates_are_joined_or_replaced_as_in_tiktoken(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a\ud83d\ude00b")) == "a😀b"
    assert tokenizer.decode(tokenizer.encode("a\ud83db\ude00")) == "a\ufffdb\ufffd"


@given(text=with_special_names)
def test_special_tokens_appear_only_where_they_are_meant(tokenizer, text):
    special = set(tokenizer.special_tokens.values())
    assert not special & set(tokenizer.encode(text))
    meant = [token for token in tokenizer.encode_with_special(text) if token in special]
    assert [tokenizer.decode([token]) for token in meant] == [
        part for part in tokenizer._special_pattern.split(text) if part in SPECIAL_TOKENS
    ]


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def peer(folder):
    return PeerTokenizer.from_file(str(folder / "tokenizer.json"))


@given(text=with_special_names)
def test_tokenizers_gives_identical_ids(tokenizer, peer, text):
    found = peer.encode(text).ids
    assert found == tokenizer.encode_with_special(text)
    assert peer.decode(found, skip_special_tokens=False) == text


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "Qwen3ForCausalLM"])
def test_transformers_loads_it_from_a_model_folder_with_identical_ids(tokenizer, texts, tmp_path, architecture):
    tokenizer.save(tmp_path)
    model_type = architecture.removesuffix("ForCausalLM").lower()
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture], "model_type": model_type}))
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for text in [*texts[::9], " two  spaces . And , that 's it \n", "<|user|>\nhi<|end_of_turn|>", "日本 é 😀"]:
        assert loaded(text).input_ids == tokenizer.encode_with_special(text)
        assert loaded.decode(loaded(text).input_ids) == text
    assert (loaded.bos_token_id, loaded.eos_token_id) == (tokenizer.bos_id, tokenizer.eos_id)
    assert len(loaded) == tokenizer.vocab_size
    said = tokenizer.encode_with_special("<|user|>hi<|end_of_turn|>")
    assert loaded.decode(said, skip_special_tokens=True) == "hi"


def test_loading_what_was_saved_gives_the_same_tokenizer(tokenizer, folder):
    loaded = Tokenizer.load(folder)
    assert loaded.sha256 == tokenizer.sha256
    assert loaded.special_tokens == tokenizer.special_tokens
    assert (loaded.bos_id, loaded.eos_id, loaded.end_of_turn_id) == (1256, 1257, 1261)
    assert loaded.vocab_size == 1262


def test_a_batch_gives_the_ids_of_each_text(tokenizer, texts):
    batch = ["", *texts[:30], ""]
    assert [ids.tolist() for ids in tokenizer.encode_documents(batch)] == [tokenizer.encode(text) for text in batch]
    assert tokenizer.encode_documents([]) == []


def test_what_is_no_token_is_named(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="1262 is no token of this vocabulary of 1262"):
        tokenizer.decode([1262])
    with pytest.raises(ValueError, match=r"no special token '<\|tool\|>'"):
        tokenizer.special_id("<|tool|>")
    with pytest.raises(ValueError, match=r"no tokenizer\.json there"):
        Tokenizer.load(tmp_path)

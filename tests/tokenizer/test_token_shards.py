import dataclasses
import json

import numpy as np
import pytest

from athanor.cli import main
from athanor.core.artifact import read_json
from athanor.core.documents import Document, write_shard
from athanor.tokenizer import token_shards
from athanor.tokenizer.packing import pack
from athanor.tokenizer.token_shards import (
    HEADER_BYTES,
    TokenDataset,
    checked_cast,
    token_dtype,
    verify,
    write_dataset_manifest,
    write_token_shard,
)
from athanor.tokenizer.tokenizer import Tokenizer

SHARDS = [["", "one text", "日本 é 😀 <|user|>"], [], ["x" * 5000, "last"]]


@pytest.fixture
def folder(tokenizer, tmp_path):
    shards = []
    for i, texts in enumerate(SHARDS):
        documents = tmp_path / "documents" / f"{i:05d}.parquet"
        write_shard(documents, [Document(id=str(j), url="", text=text) for j, text in enumerate(texts)])
        shards.append(write_token_shard(documents, tokenizer, tmp_path / "tokens", f"{i:05d}"))
    write_dataset_manifest(tmp_path / "tokens", tokenizer, shards)
    return tmp_path / "tokens"


def test_every_document_comes_back_between_its_two_tokens(tokenizer, folder):
    dataset = verify(folder)
    texts = [text for shard in SHARDS for text in shard]
    assert dataset.num_documents == len(texts)
    for i, text in enumerate(texts):
        document = dataset.document(i).tolist()
        assert (document[0], document[-1]) == (tokenizer.bos_id, tokenizer.eos_id)
        assert tokenizer.decode(document[1:-1]) == text
    assert dataset.document_lengths.tolist() == [len(dataset.document(i)) for i in range(len(texts))]
    assert dataset.num_tokens == dataset.document_lengths.sum()
    assert dataset.num_bytes == sum(len(text.encode()) for text in texts)
    with pytest.raises(IndexError, match="document 5 of 5"):
        dataset.document(5)


def test_documents_of_a_vocabulary_without_begin_of_text_begin_with_end_of_text(tokenizer, tmp_path):
    special = {"<|endoftext|>": tokenizer.vocab_size}  # as Qwen's
    qwen = Tokenizer(dataclasses.replace(tokenizer.vocabulary, special_tokens=special), eos_token="<|endoftext|>")
    qwen.save(tmp_path / "tokenizer")
    qwen = Tokenizer.load(tmp_path / "tokenizer")
    write_shard(tmp_path / "d.parquet", [Document(id="0", url="", text="one text")])
    write_dataset_manifest(tmp_path, qwen, [write_token_shard(tmp_path / "d.parquet", qwen, tmp_path, "00000")])
    eos = tokenizer.vocab_size
    assert TokenDataset(tmp_path).document(0).tolist() == [eos, *tokenizer.encode("one text"), eos]
    assert read_json(tmp_path / "tokenizer" / "tokenizer_config.json")["eos_token"] == "<|endoftext|>"
    assert "bos_token" not in read_json(tmp_path / "tokenizer" / "tokenizer_config.json")


def test_the_files_hold_what_the_format_says(tokenizer, folder):
    data = (folder / "00000.tok").read_bytes()
    dataset = TokenDataset(folder)
    assert (data[:8], data[8:12], data[12:16]) == (b"ATHANTOK", b"\1\0\0\0", b"\2\0\0\0")
    num_tokens, num_documents, vocab_size = np.frombuffer(data[16:40], "<u8").tolist()
    assert (num_tokens, num_documents, vocab_size) == (dataset.shards[0].num_tokens, 3, 1262)
    assert data[40:72].hex() == tokenizer.sha256
    assert np.frombuffer(data[HEADER_BYTES:], "<u2").tolist() == [
        token for i in range(3) for token in dataset.document(i).tolist()
    ]
    index = (folder / "00000.idx").read_bytes()
    assert index[:8] == b"ATHANIDX"
    assert np.frombuffer(index[HEADER_BYTES:], "<u8").tolist() == np.cumsum(dataset.document_lengths[:3]).tolist()


def test_four_bytes_a_token_where_two_do_not_hold_the_vocabulary(tokenizer, tmp_path):
    assert token_dtype(65_536).itemsize == 2
    assert token_dtype(65_537).itemsize == 4
    special = {token: token_id + 70_000 for token, token_id in tokenizer.special_tokens.items()}
    large = type(tokenizer)(dataclasses.replace(tokenizer.vocabulary, special_tokens=special))
    write_shard(tmp_path / "00000.parquet", [Document(id="0", url="", text="some text")])
    shard = write_token_shard(tmp_path / "00000.parquet", large, tmp_path / "tokens", "00000")
    write_dataset_manifest(tmp_path / "tokens", large, [shard])
    document = verify(tmp_path / "tokens").document(0).tolist()
    assert (document[0], document[-1]) == (71_256, 71_257)
    assert large.decode(document[1:-1]) == "some text"


def test_an_id_outside_the_vocabulary_is_refused_before_it_could_wrap():
    assert checked_cast(np.array([0, 999]), 1000).tolist() == [0, 999]
    with pytest.raises(ValueError, match="id 65541 in a vocabulary of 1000"):
        checked_cast(np.array([5, 65_541]), 1000)


def test_a_folder_without_its_manifest_is_no_dataset(folder):
    (folder / "tokens.json").unlink()
    with pytest.raises(ValueError, match=r"tokens\.json is missing"):
        TokenDataset(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"tokens\.json: format \[\]"),
        ('{"format": 2}', r"tokens\.json: format 2; this version reads 1"),
        ('{"format": 1, "dataset_id": "x", "shards": []}', r"tokens\.json: vocab_size, .* missing"),
        ('{"format": 1', r"tokens\.json: not valid JSON"),
    ],
)
def test_a_damaged_manifest_is_named(folder, content, message, capsys):
    (folder / "tokens.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        TokenDataset(folder)
    assert main(["tokenizer", "verify", str(folder)]) == 1
    assert "damaged" in capsys.readouterr().out


def test_a_shard_of_other_fields_is_named(folder):
    manifest = json.loads((folder / "tokens.json").read_text())
    del manifest["shards"][0]["name"]
    (folder / "tokens.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"tokens\.json: expected shards of"):
        TokenDataset(folder)


def test_ends_out_of_order_are_found_before_rows_are_made_of_them(folder):
    data = bytearray((folder / "00000.idx").read_bytes())
    data[HEADER_BYTES : HEADER_BYTES + 8] = (1 << 40).to_bytes(8, "little")
    (folder / "00000.idx").write_bytes(data)
    with pytest.raises(ValueError, match=r"00000\.idx: document ends do not cover the tokens in order"):
        pack(TokenDataset(folder), context_length=8, seed=0)


def test_a_shortened_shard_is_found_at_opening(folder):
    data = (folder / "00002.tok").read_bytes()
    (folder / "00002.tok").write_bytes(data[:-2])
    with pytest.raises(ValueError, match=rf"00002\.tok: {len(data) - 2} bytes; expected {len(data)}"):
        TokenDataset(folder)


@pytest.mark.parametrize("name", ["00000.tok", "00002.idx"])
def test_one_changed_bit_is_found_by_verify(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"{name}: SHA-256 is"):
        verify(folder)


def test_shards_of_another_dataset_are_found_at_opening(folder):
    (folder / "00000.tok").write_bytes((folder / "00000.tok").read_bytes().replace(b"ATHANTOK", b"ATHANIDX"))
    with pytest.raises(ValueError, match=r"00000\.tok: its header does not fit"):
        TokenDataset(folder)


def test_the_dataset_id_follows_the_content(folder, tokenizer):
    manifest = json.loads((folder / "tokens.json").read_text())
    assert TokenDataset(folder).dataset_id == manifest["dataset_id"]
    for key in ("vocab_size", "eos_id", "tokenizer_sha256"):
        assert token_shards._dataset_id(manifest | {key: "other"}) != manifest["dataset_id"]
    manifest["shards"][0]["sha256"] = "0" * 64
    (folder / "tokens.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="dataset_id does not fit"):
        TokenDataset(folder)


def test_the_command_names_the_damaged_dataset_and_passes_the_whole_one(folder, capsys):
    assert main(["tokenizer", "verify", str(folder.parent)]) == 0
    assert "whole" in capsys.readouterr().out
    data = bytearray((folder / "00002.tok").read_bytes())
    data[HEADER_BYTES + 11] ^= 1
    (folder / "00002.tok").write_bytes(data)
    assert main(["tokenizer", "verify", str(folder.parent)]) == 1
    assert "00002.tok: SHA-256 is" in capsys.readouterr().out
    assert main(["tokenizer", "verify", str(folder.parent / "documents")]) == 2
    assert "no token dataset" in capsys.readouterr().err

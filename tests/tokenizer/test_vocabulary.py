import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from tiktoken.load import load_tiktoken_bpe
from tokenizers import Tokenizer as PeerTokenizer

from athanor.tokenizer.gpt2_files import read_gpt2_files, write_gpt2_files
from athanor.tokenizer.machine import with_slack
from athanor.tokenizer.pretokenize import PATTERNS
from athanor.tokenizer.replay import readable, replay
from athanor.tokenizer.tiktoken_file import read_tiktoken, write_tiktoken
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.tokenizer.tokenizer_json import read_tokenizer_json, write_tokenizer_json
from athanor.tokenizer.vocabulary import trained_vocabulary


@pytest.mark.parametrize("pattern", PATTERNS)
def test_tokenizer_json_gives_the_vocabulary_back(tmp_path, vocabulary, pattern):
    changed = trained_vocabulary(pattern, vocabulary.merges, list(vocabulary.special_tokens))
    write_tokenizer_json(tmp_path / "tokenizer.json", changed)
    found = read_tokenizer_json(tmp_path / "tokenizer.json")
    # gpt4 and llama3 are two names of one split.
    assert PATTERNS[found.split] == PATTERNS[pattern]
    assert found.sha256 == changed.sha256
    assert found.size == changed.size == 256 + 1000 + 6


def test_the_hash_tells_vocabularies_apart(vocabulary):
    special = list(vocabulary.special_tokens)
    others = [
        trained_vocabulary("gpt2", vocabulary.merges, special),
        trained_vocabulary("gpt4", vocabulary.merges[:-1], special),
        trained_vocabulary("gpt4", vocabulary.merges[::-1].copy()[-3:], special),
        trained_vocabulary("gpt4", vocabulary.merges, special[:-1]),
    ]
    assert len({vocabulary.sha256, *(other.sha256 for other in others)}) == 5


def test_a_tiktoken_file_gives_the_merges_back(tmp_path, vocabulary):
    write_tiktoken(tmp_path / "v.tiktoken", vocabulary)
    found = read_tiktoken(tmp_path / "v.tiktoken", "gpt4", vocabulary.special_tokens)
    assert np.array_equal(found.merges, vocabulary.merges)
    assert found.sha256 == vocabulary.sha256


def test_gpt2_as_published_survives_every_format(tmp_path, fidelity):
    gpt2 = read_gpt2_files(fidelity / "tokenizer" / "encoder.json", fidelity / "tokenizer" / "vocab.bpe")
    assert (gpt2.size, len(gpt2.merges), gpt2.special_tokens) == (50257, 50000, {"<|endoftext|>": 50256})
    write_tokenizer_json(tmp_path / "tokenizer.json", gpt2)
    write_tiktoken(tmp_path / "gpt2.tiktoken", gpt2)
    assert read_tokenizer_json(tmp_path / "tokenizer.json").sha256 == gpt2.sha256
    assert read_tiktoken(tmp_path / "gpt2.tiktoken", "gpt2", gpt2.special_tokens).sha256 == gpt2.sha256


def test_tokenizers_of_others_with_a_byte_level_pre_tokenizer_are_read(tmp_path, vocabulary):
    changed = trained_vocabulary("gpt2", vocabulary.merges, ["<|endoftext|>"])
    write_tokenizer_json(tmp_path / "tokenizer.json", changed)
    value = json.loads((tmp_path / "tokenizer.json").read_text())
    value["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    value["model"]["merges"] = [" ".join(merge) for merge in value["model"]["merges"]]  # as older files write them
    (tmp_path / "tokenizer.json").write_text(json.dumps(value))
    assert read_tokenizer_json(tmp_path / "tokenizer.json").sha256 == changed.sha256
    peer = PeerTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert Tokenizer.load(tmp_path).encode("It's  so") == peer.encode("It's  so").ids


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalizer": {"type": "NFKC"}}, "it normalizes text"),
        ({"model": {"type": "Unigram", "vocab": []}}, "only byte-level BPE"),
        ({"model": {"type": "BPE", "byte_fallback": True, "vocab": {}, "merges": []}}, "a SentencePiece tokenizer"),
        ({"pre_tokenizer": {"type": "Metaspace"}}, "its pre-tokenizer is Metaspace"),
        ({"pre_tokenizer": None}, "its pre-tokenizer is None"),
    ],
)
def test_what_would_be_encoded_otherwise_is_refused(tmp_path, vocabulary, change, message):
    path = tmp_path / "tokenizer.json"
    write_tokenizer_json(path, vocabulary)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        read_tokenizer_json(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [("tokenizer.json", "its model is None"), ("tokenizer_config.json", "expected an object, found list")],
)
def test_files_of_another_form_are_named(tmp_path, tokenizer, name, message):
    tokenizer.save(tmp_path)
    (tmp_path / name).write_text("[]")
    with pytest.raises(ValueError, match=rf"{name}: {message}"):
        Tokenizer.load(tmp_path)


def test_an_unknown_expression_is_named(tmp_path, vocabulary):
    path = tmp_path / "tokenizer.json"
    write_tokenizer_json(path, vocabulary)
    value = json.loads(path.read_text())
    value["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\w+"
    path.write_text(json.dumps(value))
    with pytest.raises(ValueError, match=r"it splits by .*known are the splits gpt2"):
        read_tokenizer_json(path)


def test_a_broken_tiktoken_file_is_named_with_its_line(tmp_path: Path):
    (tmp_path / "v.tiktoken").write_bytes(b"IQ== 0\nnot base64\n")
    with pytest.raises(ValueError, match="line 2 is not a token"):
        read_tiktoken(tmp_path / "v.tiktoken", "gpt4")


def test_gpt2_files_give_the_vocabulary_back(tmp_path, vocabulary):
    changed = trained_vocabulary("gpt2", vocabulary.merges, list(vocabulary.special_tokens))
    files = (tmp_path / "encoder.json", tmp_path / "vocab.bpe")
    write_gpt2_files(*files, changed)
    assert read_gpt2_files(*files).sha256 == changed.sha256


def test_gpt2_as_published_is_written_as_published(tmp_path, fidelity):
    published = (fidelity / "tokenizer" / "encoder.json", fidelity / "tokenizer" / "vocab.bpe")
    write_gpt2_files(tmp_path / "encoder.json", tmp_path / "vocab.bpe", read_gpt2_files(*published))
    assert json.loads((tmp_path / "encoder.json").read_text()) == json.loads(published[0].read_text())
    assert (tmp_path / "vocab.bpe").read_text() == published[1].read_text()


def test_what_gpt2_files_cannot_say_is_refused(tmp_path, vocabulary):
    files = (tmp_path / "encoder.json", tmp_path / "vocab.bpe")
    with pytest.raises(ValueError, match="mean the split gpt2; the vocabulary has gpt4"):
        write_gpt2_files(*files, vocabulary)
    with pytest.raises(ValueError, match=r"told by <\|...\|> in these files; found \['end'\]"):
        write_gpt2_files(*files, trained_vocabulary("gpt2", vocabulary.merges, ["end"]))
    assert not list(tmp_path.iterdir())


def test_qwens_way_of_cutting_and_composing_gives_the_ids_of_the_peer(tmp_path, vocabulary):
    """Single digits, and NFC before encoding: what a Qwen2 or Qwen3 folder asks for."""
    qwen = replace(vocabulary, split="qwen2", normalizer="NFC")
    write_tokenizer_json(tmp_path / "tokenizer.json", qwen)
    peer = PeerTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.load(tmp_path)
    assert ours.vocabulary.sha256 == qwen.sha256 != vocabulary.sha256
    for text in (
        "In 1234 it's 5,678.90\n\n  x",
        "cafe\u0301 und A\u030angstro\u0308m",
        "\u1112\u1161\u11ab 12\u0966\u0967",
        "",
    ):
        assert ours.encode(text) == peer.encode(text).ids
        assert ours.encode_documents([text, "a"])[0].tolist() == peer.encode(text).ids
        data = text.encode()
        ids, before = ours.encode_bytes(with_slack(data + b"a"), np.array([0, len(data), len(data) + 1], np.int64))
        assert ids[before[0] : before[1]].tolist() == peer.encode(text).ids
    assert ours.decode(ours.encode("cafe\u0301")) == "caf\u00e9"


@pytest.mark.parametrize("foreign", [[], ["Ġfurnaces", "zzxq", "Ð¼Ð¸ÑĢ", "\u010a\u010a\u010a"]])
def test_files_converted_from_tiktoken_give_the_ids_of_the_peer(tmp_path, vocabulary, texts, foreign):
    """As Llama 3's: every way to cut a token in two is a merge, and whole words are tokens whatever the merges say."""
    write_tokenizer_json(tmp_path / "tokenizer.json", vocabulary)
    value = json.loads((tmp_path / "tokenizer.json").read_text())
    names = value["model"]["vocab"]
    names |= {name: 2000 + n for n, name in enumerate(foreign)}  # words of another vocabulary
    cuts = [(name[:i], name[i:], token) for name, token in names.items() for i in range(1, len(name))]
    merges = [cut for cut in cuts if cut[0] in names and cut[1] in names and cut[2] < 2000]
    merges.sort(key=lambda cut: (cut[2], names[cut[0]], names[cut[1]]))
    assert len(merges) > len(vocabulary.merges)
    value["model"] |= {"merges": [[left, right] for left, right, _ in merges], "ignore_merges": True}
    (tmp_path / "tokenizer.json").write_text(json.dumps(value))
    peer = PeerTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.load(tmp_path)
    assert len(ours.vocabulary.whole_words) == len(foreign)
    said = "two furnaces furnacess zzxq zzxqzzxq мир мира\n\n\n" + "  \n\n\n"
    for text in (said, "zzxq", *texts):
        ids = ours.encode(text)
        assert ids == peer.encode(text, add_special_tokens=False).ids
        assert ours.decode(ids) == text
    steps = replay(ours, said)
    assert steps[-1].tokens == [readable(ours.token_bytes(token)) for token in ours.encode(said)]
    ours.save(tmp_path / "again")
    again = Tokenizer.load(tmp_path / "again")
    assert again.sha256 == ours.sha256 != vocabulary.sha256
    assert again.encode(said) == ours.encode(said)
    if foreign:  # no merge makes them, and of every pair that tiktoken finds in its list it makes one
        with pytest.raises(ValueError, match="do not follow the order of the merges"):
            write_tiktoken(tmp_path / "v.tiktoken", ours.vocabulary)


def test_a_merge_that_can_never_be_done_changes_nothing(tmp_path, vocabulary):
    write_tokenizer_json(tmp_path / "tokenizer.json", vocabulary)
    value = json.loads((tmp_path / "tokenizer.json").read_text())
    value["model"]["vocab"] |= {"qqq": 5000, "qqqq": 5001}
    value["model"]["merges"].append(["qqq", "q"])
    (tmp_path / "tokenizer.json").write_text(json.dumps(value))
    assert read_tokenizer_json(tmp_path / "tokenizer.json").sha256 == vocabulary.sha256
    value["model"]["merges"].append(["qqqqq", "q"])
    (tmp_path / "tokenizer.json").write_text(json.dumps(value))
    with pytest.raises(ValueError, match=r"merge 1001 \('qqqqq', 'q'\) does not join two tokens"):
        read_tokenizer_json(tmp_path / "tokenizer.json")


def test_a_tiktoken_file_with_tokens_of_another_vocabulary_gives_the_ids_of_tiktoken(tmp_path, vocabulary, texts):
    write_tiktoken(tmp_path / "v.tiktoken", vocabulary)
    ranks = load_tiktoken_bpe(str(tmp_path / "v.tiktoken"))
    ranks |= {word: 3000 + n for n, word in enumerate([b" furnaces", "мир".encode(), b"\n\n\n\n\n", b" theqq"])}
    lines = [base64.b64encode(token) + b" %d" % rank for token, rank in ranks.items()]
    (tmp_path / "v.tiktoken").write_bytes(b"\n".join(lines))
    ours = Tokenizer(read_tiktoken(tmp_path / "v.tiktoken", "gpt4"))
    peer = tiktoken.Encoding("t", pat_str=PATTERNS["gpt4"], mergeable_ranks=ranks, special_tokens={})
    for text in ("two furnaces furnacesx мир мира theqq theqqq\n\n\n\n\nx", *texts):
        assert ours.encode(text) == peer.encode(text)
    write_tiktoken(tmp_path / "again.tiktoken", ours.vocabulary)
    assert load_tiktoken_bpe(str(tmp_path / "again.tiktoken")) == ranks

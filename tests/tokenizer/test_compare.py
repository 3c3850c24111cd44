"""Comparing tokenizers counts what it says, group by group."""

import json

import pytest
import tiktoken
from tiktoken.load import load_tiktoken_bpe

from athanor.cli import main
from athanor.core.documents import Document, write_shard
from athanor.tokenizer.compare import compare
from athanor.tokenizer.config import Split
from athanor.tokenizer.places import load_tokenizer
from athanor.tokenizer.pretokenize import PATTERNS
from athanor.tokenizer.samples import Sample, kind_of, read_samples, script_of
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.tokenizer.vocabulary import trained_vocabulary


@pytest.fixture(scope="session")
def bytes_only() -> Tokenizer:
    """A tokenizer without merges: every byte is a token."""
    import numpy as np

    split: Split = "gpt2"
    return Tokenizer(trained_vocabulary(split, np.empty((0, 2), np.int32), ["<|endoftext|>"]))


SAMPLES = (Sample("the class", "en", "prose"), Sample("x  =  12\n", "latin", "code"), Sample("мир", "ru", "prose"))


def test_bytes_per_token_is_counted_for_every_group(tokenizer, bytes_only):
    found = compare({"trained": tokenizer, "bytes": bytes_only}, SAMPLES)
    sizes = {"all texts": 24, "kind code": 9, "kind prose": 15, "language en": 9, "language latin": 9, "language ru": 6}
    assert found["bytes"] == sizes
    assert found["tokenizers"]["bytes"]["bytes_per_token"] == dict.fromkeys(sizes, 1.0)
    rates = found["tokenizers"]["trained"]["bytes_per_token"]
    assert rates["language en"] == 9 / 2  # "the" and " class"
    for name, texts in (("kind prose", SAMPLES[::2]), ("all texts", SAMPLES)):
        assert rates[name] == sizes[name] / sum(len(tokenizer.encode(sample.text)) for sample in texts)


def test_vocabulary_use_and_white_space_are_counted_by_hand(bytes_only):
    one = compare({"bytes": bytes_only}, [Sample("aab 12\n", "en", "prose")])["tokenizers"]["bytes"]
    assert one["vocabulary_used"] == 6 / 257  # a, b, blank, 1, 2, line break
    assert one["most_used"] == 6
    assert (one["digits_per_token"], one["spaces_per_token"], one["space_tokens"]) == (1.0, 1.0, 2 / 7)
    assert one["numbers"]["365"] == ["3", "6", "5"]
    assert one["white_space"]["    x"] == ["·", "·", "·", "·", "x"]


def test_texts_without_digits_have_no_rate_for_them(tokenizer):
    assert compare({"t": tokenizer}, SAMPLES[:1])["tokenizers"]["t"]["digits_per_token"] is None


def test_empty_texts_are_refused(tokenizer):
    with pytest.raises(ValueError, match="nothing to compare"):
        compare({"t": tokenizer}, [Sample("", "en", "prose")])


def test_kinds_and_scripts_are_told_apart():
    assert kind_of("The furnace keeps one even heat.") == "prose"
    assert kind_of("1 2 3 4\n5 6 7 8") == "numbers"
    assert kind_of(r"so \frac{a^2}{b} \leq \sum_i x_i^2 holds") == "mathematics"
    assert kind_of("SELECT everything", ".sql") == "code"
    assert kind_of("Γειά σου Κόσμε, όλα καλά") == "prose"
    assert kind_of("the angle α + β = γ of the triangle") == "mathematics"
    assert (script_of("ひらがな"), script_of("")) == ("hiragana", "none")


def test_samples_come_from_shards_lines_and_plain_files_within_bounds(tmp_path):
    write_shard(tmp_path / "documents" / "00000.parquet", [Document("1", "u", "Guten Tag", language="de")])
    (tmp_path / "rows.jsonl").write_text('{"text": "hello"}\n')
    (tmp_path / "a.py").write_text("x = 1\n" * 10)
    assert list(read_samples(tmp_path, 100)) == [Sample("Guten Tag", "de", "prose")]
    assert list(read_samples(tmp_path / "rows.jsonl", 100)) == [Sample("hello", "latin", "prose")]
    assert [len(sample.text) for sample in read_samples(tmp_path / "a.py", 7)] == [7]
    (tmp_path / "bad.jsonl").write_text('{"content": "hello"}\n')
    with pytest.raises(ValueError, match="line 1 has no 'text' field; found content"):
        list(read_samples(tmp_path / "bad.jsonl", 100))


def test_the_command_prints_a_column_for_each_tokenizer(tokenizer, bytes_only, tmp_path, capsys):
    tokenizer.save(tmp_path / "a" / "tokenizer")
    bytes_only.save(tmp_path / "b" / "tokenizer")
    (tmp_path / "text.txt").write_text("the class\n" * 50)
    words = ["tokenizer", "compare", str(tmp_path / "a/tokenizer"), str(tmp_path / "b/tokenizer")]
    assert main([*words, str(tmp_path / "text.txt"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["tokenizers"]) == ["tokenizer", "b/tokenizer"]
    assert main([*words, str(tmp_path / "text.txt")]) == 0
    printed = capsys.readouterr().out
    assert "kind prose (500 bytes)" in printed
    assert "b/tokenizer" in printed
    assert main(words) == 2
    assert "no text among" in capsys.readouterr().err


def test_a_tokenizer_goes_to_tiktoken_and_back(tokenizer, tmp_path, capsys):
    tokenizer.save(tmp_path / "t")
    assert main(["tokenizer", "convert", str(tmp_path / "t"), "--to", "tiktoken", "--out", str(tmp_path / "k")]) == 0
    place = str(tmp_path / "k" / "tokenizer.tiktoken")
    text = "for i in range(1000): print('naïve', i)\n"
    assert load_tokenizer(f"{place}:gpt4").encode(text) == tokenizer.encode(text)
    printed = capsys.readouterr().out
    assert f"({len(tokenizer.vocabulary.ids):,} tokens" in printed
    assert "not in that format: the split, and the special tokens <|begin_of_text|>" in printed
    peer = tiktoken.Encoding(
        "athanor",
        pat_str=PATTERNS["gpt4"],
        mergeable_ranks=load_tiktoken_bpe(place),
        special_tokens={},
    )
    assert peer.encode(text) == tokenizer.encode(text)
    capsys.readouterr()
    assert main(["tokenizer", "convert", place, "--out", str(tmp_path / "x")]) == 2
    assert "does not say how it splits text" in capsys.readouterr().err
    assert main(["tokenizer", "convert", str(tmp_path / "t"), "--out", str(tmp_path / "k")]) == 2
    assert "not empty" in capsys.readouterr().err

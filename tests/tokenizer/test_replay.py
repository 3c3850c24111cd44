import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from athanor.tokenizer.replay import readable, replay, show


@given(text=st.text(max_size=30) | st.sampled_from(["the statement", "class C:\n    pass", "banana aaaa"]))
def test_replaying_ends_with_the_tokens_of_encode_and_merges_one_pair_a_step(tokenizer, text):
    steps = replay(tokenizer, text)
    assert steps[-1].tokens == [readable(tokenizer.token_bytes(token)) for token in tokenizer.encode(text)]
    assert steps[0].merge is None
    for before, after in itertools.pairwise(steps):
        assert after.merge is not None
        assert len(after.tokens) < len(before.tokens)
        assert "".join(after.merge) in "".join(after.tokens)


def test_the_first_step_is_single_bytes(tokenizer):
    assert replay(tokenizer, "the")[0].tokens == ["t", "h", "e"]
    assert replay(tokenizer, "é")[0].tokens == ["\\xc3", "\\xa9"]


def test_show_names_tokens_ids_and_their_number(tokenizer):
    ids = tokenizer.encode("the class\n")
    plain = show(tokenizer, "the class\n", color=False).splitlines()
    assert plain == ["the| class|⏎", " ".join(map(str, ids)), "3 tokens, 10 bytes, 3.33 bytes per token"]
    coloured = show(tokenizer, "the class\n")
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).splitlines() == ["the class⏎", *plain[1:]]


def test_nothing_is_shown_as_nothing(tokenizer):
    assert show(tokenizer, "", color=False) == "\n\n0 tokens, 0 bytes"


def test_show_prints_no_control_characters_of_the_text(tokenizer):
    assert "\x1b[2J" not in show(tokenizer, "a\x1b[2Jb")

import itertools

from hypothesis import given
from hypothesis import strategies as st

from athanor.tokenizer.replay import readable, replay


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

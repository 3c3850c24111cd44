from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from athanor.tokenizer.bpe_encode import Encoder
from athanor.tokenizer.pretokenize import PATTERNS
from athanor.tokenizer.tokenizer import Tokenizer, utf8

pieces = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["the ", "def ", "self.", "\n    ", "=" * 70, "a" * 63, "a" * 64, "a" * 65, "ab" * 70, "é" * 80]),
)


@pytest.fixture(scope="module")
def peer(vocabulary):
    ranks = {token: rank for rank, token in enumerate(vocabulary.token_bytes)}
    return tiktoken.Encoding("peer", pat_str=PATTERNS["gpt4"], mergeable_ranks=ranks, special_tokens={})


@given(text=st.lists(pieces, max_size=12).map("".join))
def test_ids_are_those_of_tiktoken(tokenizer, peer, text):
    assert tokenizer.encode(text) == peer.encode_ordinary(text)


def test_ids_of_real_text_are_those_of_tiktoken(tokenizer, peer, texts):
    encoded = tokenizer.encode_documents(texts)
    assert [ids.tolist() for ids in encoded] == peer.encode_ordinary_batch(texts)


def test_a_word_gives_the_same_ids_when_it_returns(tokenizer, texts):
    fresh = Tokenizer(tokenizer.vocabulary)
    first = [fresh.encode(text) for text in texts[:20]]
    assert [fresh.encode(text) for text in texts[:20]] == first


def test_many_different_long_words_keep_their_ids(tokenizer):
    """More words than the first table holds, longer than a key, so that tables and arenas grow and move."""
    words = [f"{i:x}".translate({ord(str(d)): chr(ord("g") + d) for d in range(10)}) * 9 for i in range(4000)]
    fresh = Tokenizer(tokenizer.vocabulary)
    once = [fresh.encode(word) for word in words]
    assert [fresh.encode(word) for word in words] == once
    assert [fresh.decode(ids) for ids in once] == words


def test_a_megabyte_without_a_space_is_encoded_in_moments(tokenizer, peer):
    text = "the" * 333_333
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert len(ids) < len(text) / 2
    assert tokenizer.encode("the" * 1000) == peer.encode_ordinary("the" * 1000)


def test_threads_may_share_a_tokenizer(tokenizer, texts):
    fresh = Tokenizer(tokenizer.vocabulary)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fresh.encode, texts)) == [tokenizer.encode(text) for text in texts]


def test_ids_need_not_follow_the_order_of_the_merges(tokenizer):
    vocabulary = tokenizer.vocabulary
    shuffled = np.random.default_rng(0).permutation(len(vocabulary.ids)).astype(np.int32)
    encoder = Encoder(vocabulary.merges, shuffled, "gpt4")
    data = utf8("The lambda expression; the class statement.")
    ids, _ = encoder.encode(np.frombuffer(data + bytes(16), np.uint8), np.array([0, len(data)], np.int64))
    assert ids.tolist() == shuffled[tokenizer.encode(data.decode())].tolist()


def test_ids_that_do_not_fit_the_table_are_refused():
    with pytest.raises(ValueError, match="257 ids for 256 bytes and 0 merges"):
        Encoder(np.zeros((0, 2), np.int32), np.arange(257, dtype=np.int32), "gpt4")

"""Text that grows token by token: whole characters, nothing of a stop string, every token accounted for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanor.inference.config import Sampling
from athanor.inference.request import Sampled
from athanor.inference.text import TextStream, complete


class Bytes:
    """A tokenizer whose tokens are the bytes, and two more that end things."""

    stop_ids = (256, 257)

    def decode_bytes(self, ids):
        return bytes(ids)


def pieces(text: str, stop: tuple[str, ...], hidden=()):
    stream = TextStream(Bytes(), stop, hidden)
    for byte in text.encode() if isinstance(text, str) else text:
        yield stream.push(Sampled(byte, 0.0, 0.0))
        if stream.ended:
            break
    yield stream.finish()


def cut(text: str, stop: tuple[str, ...]) -> str:
    """The text before the stop string that is complete first."""
    for end in range(len(text) + 1):
        places = [text[:end].find(string) for string in stop if string in text[:end]]
        if places:
            return text[: min(places)]
    return text


@given(
    st.text(alphabet="ab\n é𝄞", max_size=30), st.lists(st.text(alphabet="ab\n é", min_size=1, max_size=4), max_size=3)
)
def test_pieces_join_to_the_text_before_the_first_stop_string(text, stop):
    assert "".join(piece.text for piece in pieces(text, tuple(stop))) == cut(text, tuple(stop))


@given(st.text(alphabet="abé𝄞", max_size=30))
def test_no_piece_ever_holds_half_a_character_or_part_of_a_stop_string(text):
    shown = ""
    for piece in pieces(text, ("abba",)):
        shown += piece.text
        assert "\ufffd" not in piece.text
        assert cut(text, ("abba",)).startswith(shown)


@given(st.text(alphabet="ab\n é𝄞", max_size=30), st.sampled_from([(), ("ab",), ("\n\n", "é")]))
def test_tokens_come_with_the_text_they_begin_and_only_those(text, stop):
    tokens = bytes(sampled.token for piece in pieces(text, stop) for sampled in piece.tokens)
    assert tokens.decode() == cut(text, stop)


def test_bytes_that_are_no_text_show_the_replacement_character():
    assert "".join(piece.text for piece in pieces(b"ok\xff\xe2\x82", ())) == "ok\ufffd\ufffd"


def test_tokens_that_end_a_completion_have_no_text():
    assert "".join(piece.text for piece in pieces(b"ok\x00", (), hidden={0})) == "ok"


def test_an_empty_stop_string_is_refused():
    with pytest.raises(ValueError, match="empty stop string"):
        TextStream(Bytes(), ("",))


class Letters(Bytes):
    """Every token is one letter."""

    def decode_bytes(self, ids):
        return bytes(97 + token % 26 for token in ids)


def test_complete_ends_each_text_before_its_stop_string(model):
    shown = ["", "", ""]

    def on_text(index, text):
        shown[index] += text

    prompts = [[1], [2], [3]]
    free = complete(model, Letters(), prompts, Sampling(), 40, seed=0)
    stop = free[1].text[10:12]
    stopped = complete(model, Letters(), prompts, Sampling(), 40, seed=0, stop=[stop], on_text=on_text)
    assert [completion.text for completion in stopped] == [cut(completion.text, (stop,)) for completion in free]
    assert shown == [completion.text for completion in stopped]
    assert stopped[1].generation.finish_reason == "stop"

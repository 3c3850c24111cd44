"""xz primed with the training text costs what the xz command line says it costs."""

import hashlib
import shutil
import subprocess

import pytest

from athanor.evaluation.compression import xz_bits_per_byte

TRAINING = [f"Page {i}: the parser returns a tree of nodes, see parser.parse({i})." for i in range(300)]


def test_equals_the_xz_command_within_its_own_framing() -> None:
    xz = shutil.which("xz")
    if xz is None:
        pytest.skip("no xz command on this machine")
    documents = ["Page 900: the parser returns a list of leaves.", "Nothing in common: qwertz 0815."]
    before = "".join(text + "\0" for text in TRAINING).encode()
    after = before + "".join(text + "\0" for text in documents).encode()
    sizes = [
        len(subprocess.run([xz, "-9", "-C", "crc64", "-T1", "-c"], input=data, capture_output=True, check=True).stdout)
        for data in (before, after)
    ]
    expected = 8 * (sizes[1] - sizes[0]) / sum(map(len, documents))
    assert xz_bits_per_byte(TRAINING, documents) == pytest.approx(expected, abs=8 * 8 / sum(map(len, documents)))


def test_text_seen_in_training_costs_almost_nothing() -> None:
    pages = [hashlib.sha512(str(i).encode()).hexdigest() for i in range(100)]
    assert xz_bits_per_byte(pages, ["".join(pages[:30])]) < 0.5
    assert xz_bits_per_byte(["Nothing like it at all."], ["".join(pages[:30])]) > 4


def test_no_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="no text"):
        xz_bits_per_byte(TRAINING, [""])

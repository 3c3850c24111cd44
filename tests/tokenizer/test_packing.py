from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanor.tokenizer.packing import pack


@dataclass
class Documents:
    """A dataset whose tokens say which document and place they are from."""

    lengths: list[int]
    eos_id: int = -1

    @property
    def document_lengths(self):
        return np.array(self.lengths, np.int64)

    @property
    def num_documents(self):
        return len(self.lengths)

    def document(self, i):
        return i * 1_000_000 + np.arange(self.lengths[i])


def pieces(rows):
    for i in range(rows.num_rows):
        row, start = rows.row_tokens(i), 0
        for end in rows.boundaries(i).tolist():
            yield row[start:end]
            start = end


@given(lengths=st.lists(st.integers(1, 60), max_size=60), context_length=st.integers(1, 25), seed=st.integers(0, 5))
def test_every_token_is_in_exactly_one_row_and_pieces_are_runs_of_one_document(lengths, context_length, seed):
    rows = pack(Documents(lengths), context_length, seed)
    found = list(pieces(rows))
    for piece in found:
        assert np.array_equal(piece, piece[0] + np.arange(len(piece)))
    everything = sorted(token for piece in found for token in piece.tolist())
    assert everything == [i * 1_000_000 + j for i, length in enumerate(lengths) for j in range(length)]
    width = context_length + 1
    for i in range(rows.num_rows):
        row, end = rows.row_tokens(i), int(rows.boundaries(i)[-1])
        assert len(row) == width
        assert (row[:end] >= 0).all()
        assert (row[end:] == -1).all()
    assert rows.num_rows <= -(-sum(lengths) // width) + sum(lengths) // (2000 * width)


@pytest.mark.parametrize(
    "lengths",
    [
        np.random.default_rng(0).lognormal(5.5, 1.2, 20_000).astype(int) + 2,
        np.full(10_000, 160),  # of equal length, more than half a row: whole ones would leave a third empty
    ],
)
def test_rows_are_full(lengths):
    rows = pack(Documents(lengths.tolist()), 256, seed=0)
    assert rows.fill >= 0.999


def test_documents_that_fit_are_hardly_ever_split():
    lengths = np.random.default_rng(1).integers(10, 200, 20_000).tolist()
    assert pack(Documents(lengths), 256, seed=0).num_split < 0.01 * len(lengths)


def test_the_seed_decides_which_pieces_meet_and_nothing_else_does():
    dataset = Documents([10] * 200)
    first, again, other = (pack(dataset, 29, seed) for seed in (1, 1, 2))
    assert [p.tolist() for p in pieces(first)] == [p.tolist() for p in pieces(again)]
    assert [p.tolist() for p in pieces(first)] != [p.tolist() for p in pieces(other)]


def test_an_empty_dataset_has_no_rows():
    rows = pack(Documents([]), 16, seed=0)
    assert (rows.num_rows, rows.fill) == (0, 0.0)


def test_real_documents_come_back_from_their_rows(tokenizer, texts, tmp_path):
    from athanor.core.documents import Document, write_shard
    from athanor.tokenizer.token_shards import TokenDataset, write_dataset_manifest, write_token_shard

    write_shard(tmp_path / "00000.parquet", [Document(id=str(i), url="", text=text) for i, text in enumerate(texts)])
    shard = write_token_shard(tmp_path / "00000.parquet", tokenizer, tmp_path / "tokens", "00000")
    write_dataset_manifest(tmp_path / "tokens", tokenizer, [shard])
    dataset = TokenDataset(tmp_path / "tokens")
    rows = pack(dataset, 128, seed=3)
    assert rows.fill >= 0.999
    starts = {(int(d), int(s)): i for i, (d, s) in enumerate(zip(rows.document, rows.start, strict=True))}
    parts = dict(zip(starts, pieces(rows), strict=True))
    for document in range(0, dataset.num_documents, 7):
        joined = np.concatenate([parts[key] for key in sorted(parts) if key[0] == document])
        assert np.array_equal(joined, dataset.document(document))

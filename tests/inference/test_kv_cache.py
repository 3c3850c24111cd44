"""The cache: rows that grow, move and leave keep what was written for them."""

import torch

from athanor.inference.kv_cache import BLOCK, KVCache


def write(cache: KVCache, value_of_row: list[float]) -> torch.Tensor:
    """One more token per row whose key and value are a constant; what attention over the row then gives."""
    layout = cache.writing()
    shape = (len(value_of_row), cache.config.num_kv_heads, 1, cache.config.head_width)
    kv = torch.tensor(value_of_row)[:, None, None, None].expand(shape)
    q = torch.ones(len(value_of_row), cache.config.num_heads, 1, cache.config.head_width)
    for layer in range(cache.config.num_layers):
        seen = layout.attend(layer, q, kv, kv)
    return seen[:, 0, 0, 0]


def read(cache: KVCache, lengths: list[int], value_of_row: list[float]) -> None:
    layout = cache.reading(lengths)
    values_N = torch.tensor(value_of_row).repeat_interleave(torch.tensor(lengths))
    kv = values_N[None, None, :, None].expand(1, cache.config.num_kv_heads, sum(lengths), cache.config.head_width)
    q = torch.ones(1, cache.config.num_heads, sum(lengths), cache.config.head_width)
    for layer in range(cache.config.num_layers):
        layout.attend(layer, q, kv, kv)


def test_rows_keep_their_own_values_while_others_grow_and_leave(model):
    cache = KVCache(model.config, torch.float32)
    read(cache, [3, BLOCK + 5, 1], [1.0, 2.0, 3.0])
    assert torch.allclose(write(cache, [1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 3.0]))
    assert cache.drop(0) == 2  # the third row moved into the first place
    assert cache.lengths == [2, BLOCK + 6]
    for _ in range(2 * BLOCK):
        assert torch.allclose(write(cache, [3.0, 2.0]), torch.tensor([3.0, 2.0]))
    read(cache, [4], [5.0])
    assert torch.allclose(write(cache, [3.0, 2.0, 5.0]), torch.tensor([3.0, 2.0, 5.0]))


def test_what_lies_beyond_a_rows_end_never_reaches_it(model):
    cache = KVCache(model.config, torch.float32)
    read(cache, [1, 40], [1.0, 2.0])
    cache.held_2LBCGK[:, 0, 2:] = 1e30
    assert torch.allclose(write(cache, [1.0, 2.0]), torch.tensor([1.0, 2.0]))


def test_positions_count_each_row_from_its_own_start(model):
    cache = KVCache(model.config, torch.float32)
    assert cache.reading([2, 3]).positions_BT.tolist() == [[0, 1, 0, 1, 2]]
    assert cache.writing().positions_BT.tolist() == [[2], [3]]
    assert cache.reading([2]).positions_BT.tolist() == [[0, 1]]
    assert cache.writing().positions_BT.tolist() == [[3], [4], [2]]


def test_space_grows_in_blocks_and_holds_what_was_there(model):
    cache = KVCache(model.config, torch.float32)
    read(cache, [BLOCK], [4.0])
    before = cache.copy(0, 0, BLOCK)
    write(cache, [4.0])
    assert cache.held_2LBCGK.shape[2] % BLOCK == 0
    assert torch.equal(cache.copy(0, 0, BLOCK), before)

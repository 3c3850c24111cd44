"""Value embeddings are added to attention's values, cost no products, and are refused where they cannot be kept."""

from pathlib import Path

import pytest
import torch

from athanor.model import convert, folder
from athanor.model.attention import causal, segments
from athanor.model.config import ModelConfig, has_value_embedding
from athanor.model.count import count_parameters
from athanor.model.transformer import Transformer

CONFIG = ModelConfig(
    vocab_size=30,
    num_layers=3,
    d_model=16,
    d_ff=24,
    num_heads=4,
    num_kv_heads=2,
    head_width=8,
    context_length=12,
    value_embeddings=True,
)


def model() -> Transformer:
    built = Transformer(CONFIG, seed=3)
    generator = torch.Generator().manual_seed(4)
    for name, parameter in built.named_parameters():
        if name.endswith(("attention_out.weight", "down.weight", "gate.weight")):
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return built


def test_every_second_block_has_a_table_with_the_last() -> None:
    assert [has_value_embedding(CONFIG, layer) for layer in range(3)] == [True, False, True]
    assert [block.value_embedding is not None for block in Transformer(CONFIG).blocks] == [True, False, True]


def test_the_values_of_one_position_are_those_of_its_token_times_the_gate() -> None:
    block = model().blocks[0]
    table = block.value_embedding
    x = torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(5))
    gate = 2 * torch.sigmoid(table.gate.weight @ x[0, 0])  # the gate reads 16 channels where there are no 32
    expected = table.embedding.weight[7].view(2, 8) * gate[:, None]
    torch.testing.assert_close(table(torch.tensor([[7]]), x)[0, 0], expected)


def test_packed_sequences_give_what_they_give_alone() -> None:
    built = model()
    tokens = torch.randint(30, (1, 9), generator=torch.Generator().manual_seed(6))
    together = built(tokens, segments([5, 4]))
    torch.testing.assert_close(together[:, :5], built(tokens[:, :5], causal(1, 5)))
    torch.testing.assert_close(together[:, 5:], built(tokens[:, 5:], causal(1, 4)))


def test_counts_equal_the_parameters_there_are() -> None:
    built = Transformer(CONFIG)
    assert count_parameters(CONFIG) == sum(parameter.numel() for parameter in built.parameters())
    matrices = sum(
        parameter.numel()
        for name, parameter in built.named_parameters()
        if parameter.ndim == 2 and not name.endswith("embedding.weight")
    )
    assert count_parameters(CONFIG, "matmul") == matrices


def test_a_folder_of_our_own_gives_the_same_model_back(tmp_path: Path) -> None:
    built = model()
    folder.save(built, tmp_path)
    loaded = folder.load(tmp_path)
    tokens = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(loaded(tokens, causal(1, 3)), built(tokens, causal(1, 3)))


def test_export_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="value_embeddings"):
        convert.save(model(), tmp_path)

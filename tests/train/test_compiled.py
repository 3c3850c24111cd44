"""Compiled steps give the same numbers; where they cannot be had, the plain ones run and a warning says so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from athanor.model.attention import causal
from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer
from athanor.train import compiled, float8, loss

Function = Callable[..., Any]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(compiled.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(compiled, "_warned", set())
    loss._compiled_chunk.cache_clear()


def compile_with(monkeypatch: pytest.MonkeyPatch, how: Function) -> None:
    monkeypatch.setattr(torch, "compile", how)


def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler without its last part, the C++ code, which would take half a minute."""
    real = torch.compile
    compile_with(monkeypatch, lambda function, dynamic: real(function, dynamic=dynamic, backend="aot_eager"))


def test_without_a_compiler_the_plain_function_runs_and_one_warning_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_compiler(function: Function, dynamic: bool) -> Function:
        def call(*arguments: Any) -> None:
            raise RuntimeError("no working C++ compiler found")

        return call

    compile_with(monkeypatch, no_compiler)
    double, triple = (compiled.Compiled(lambda x, n=n: n * x, "the block") for n in (2, 3))
    assert [double(4), double(5), triple(4)] == [8, 10, 12]
    said = "".join(capsys.readouterr())
    assert said.count("runs uncompiled") == 1
    assert "no working C++ compiler" in said


def test_an_error_of_the_function_itself_is_not_taken_for_one_of_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_with(monkeypatch, lambda function, dynamic: function)

    def broken(x: int) -> int:
        raise KeyError(x)

    function = compiled.Compiled(broken, "the block")
    with pytest.raises(KeyError):
        function(1)
    assert not function.failed


def test_a_truncated_library_is_thrown_away_and_compiled_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "cache" / "ab" / "kernel.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"\x7fELF")

    def loads_the_library(function: Function, dynamic: bool) -> Function:
        def call(*arguments: Any) -> Any:
            if library.exists():
                raise RuntimeError("backend failed") from ImportError(f"{library}: file too short")
            return function(*arguments)

        return call

    compile_with(monkeypatch, loads_the_library)
    function = compiled.Compiled(lambda x: x + 1, "the block")
    assert function(1) == 2
    assert not function.failed and not library.exists()
    assert "truncated" in "".join(capsys.readouterr())


def test_a_library_that_was_really_truncated_is_recognised(tmp_path: Path) -> None:
    import ctypes

    library = tmp_path / "kernel.so"
    library.write_bytes(b"\x7fELF\x02\x01")
    with pytest.raises(OSError) as error:
        ctypes.CDLL(str(library))
    assert compiled.is_truncated_library(error.value)
    assert not compiled.is_truncated_library(ValueError("shapes differ"))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler looks at inputs that are no leaves
def test_compiled_blocks_and_loss_give_the_same_loss_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    traced(monkeypatch)
    config = ModelConfig(
        vocab_size=40, num_layers=2, d_model=16, d_ff=24, num_heads=2, num_kv_heads=1, head_width=8, context_length=12
    )
    tokens = torch.randint(40, (3, 13), generator=torch.Generator().manual_seed(0))
    found = []
    for use in (False, True):
        model = Transformer(config, seed=1)
        for block in model.blocks:
            torch.nn.init.normal_(block.down.weight, std=0.1, generator=torch.Generator().manual_seed(2))
        if use:
            compiled.compile_blocks(model)
        hidden = model(tokens[:, :-1], causal(3, 12))
        value = loss.cross_entropy(hidden.flatten(0, 1), model.head_weight, tokens[:, 1:].flatten(), compiled=use)
        found.append([value, *torch.autograd.grad(value, list(model.parameters()))])
        if use:
            assert not any(block.forward.failed for block in model.blocks)
            assert not loss._compiled_chunk().failed
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)


def test_compiled_code_with_wrong_gradients_is_not_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def right_value_wrong_gradient(function: Function, dynamic: bool) -> Function:
        return lambda x: function(x).detach() + (x - x.detach()) * float("nan") if x.requires_grad else function(x)

    def right_value_without_gradient(function: Function, dynamic: bool) -> Function:
        return lambda x: 3 * x.detach() + 0 * x

    for how in (right_value_wrong_gradient, right_value_without_gradient):
        compile_with(monkeypatch, how)
        monkeypatch.setattr(compiled, "_warned", set())
        x = torch.ones(2, requires_grad=True)
        triple = compiled.Compiled(lambda x: 3 * x, "the block")
        (gradient,) = torch.autograd.grad(triple(x).sum(), [x])
        assert gradient.tolist() == [3, 3]
        assert "compiled code is wrong" in "".join(capsys.readouterr())


def test_validation_of_another_shape_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    def remember(function: Function, dynamic: bool) -> Function:
        def call(x: torch.Tensor) -> Any:
            shapes.append(x.shape[0])
            return function(x)

        return call

    compile_with(monkeypatch, remember)
    function = compiled.Compiled(lambda x: 2 * x, "the block", only_training=True)
    with torch.no_grad():
        assert function(torch.ones(3)).sum() == 6
    assert function(torch.ones(4)).sum() == 8
    assert set(shapes) == {4}


def test_weights_and_rare_targets_are_exact_in_the_compiled_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    traced(monkeypatch)
    hidden = torch.tensor([[300.0], [1.0], [2.0]], requires_grad=True)
    head = torch.tensor([[1.0], [-1.0]], requires_grad=True)  # the first target's probability underflows
    targets, weights = torch.tensor([1, 0, 1]), torch.tensor([0.5, 0.0, 0.25])
    value = loss.cross_entropy(hidden, head, targets, weights, compiled=True)
    expected = 0.5 * 600 + 0.25 * (4 + torch.log1p(torch.exp(torch.tensor(-4.0))))
    torch.testing.assert_close(value, expected)
    (gradient,) = torch.autograd.grad(value, [hidden])
    torch.testing.assert_close(gradient[:2].flatten(), torch.tensor([1.0, 0.0]))


def test_the_compiled_loss_has_the_same_z_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    traced(monkeypatch)
    generator = torch.Generator().manual_seed(7)
    hidden = torch.randn(9, 4, generator=generator, requires_grad=True)
    head = torch.randn(6, 4, generator=generator, requires_grad=True)
    targets, weights = torch.randint(6, (9,), generator=generator), torch.rand(9, generator=generator)
    found = []
    for use in (False, True):
        total, z = loss.cross_entropy_and_z(hidden, head, targets, weights, 0.01, compiled=use)
        found.append([total, z, *torch.autograd.grad(total, [hidden, head])])
    torch.testing.assert_close(found[1], found[0])


def test_products_in_float8_may_round_another_way_when_compiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not float8.has_float8(torch.device("cpu")):
        pytest.skip("this torch has no float8 products here")
    config = ModelConfig(
        vocab_size=16, context_length=16, num_layers=1, d_model=32, d_ff=32, num_heads=2, num_kv_heads=2, head_width=16
    )
    for in_float8, factor, used in ((False, 1.1, False), (True, 1.1, True), (True, 1.5, False)):
        compile_with(monkeypatch, lambda function, dynamic, factor=factor: lambda *given: function(*given) * factor)
        model = Transformer(config)
        model.compute_dtype = torch.bfloat16
        if in_float8:
            float8.use_float8(model, torch.device("cpu"))
        compiled.compile_blocks(model)
        model(torch.arange(16)[None], causal(1, 16))
        assert model.blocks[0].forward.failed is not used, (in_float8, factor)
    assert "compiled code is wrong" in "".join(capsys.readouterr())

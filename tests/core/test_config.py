"""Configs: strict at any depth, and the same after a round trip."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanor.core.config import ConfigError, fingerprint_dict, from_dict, matching_files, runtime_dict, to_dict


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    mode: Literal["fast", "precise"] = "fast"

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate is at least 0, found {self.rate}")


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    sizes: tuple[int, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    weights: dict[str, float] = field(default_factory=dict)
    threads: Literal["auto"] | int = "auto"
    folder: Path = Path()
    workers: int = field(default=1, metadata={"runtime": True})


def error(data: object) -> str:
    with pytest.raises(ConfigError) as raised:
        from_dict(Outer, data, "here")  # type: ignore[arg-type]
    return str(raised.value)


outers = st.builds(
    Outer,
    name=st.text(),
    inner=st.builds(Inner, st.floats(0, 1e9), st.sampled_from(["fast", "precise"])),
    maybe=st.none() | st.builds(Inner, st.floats(0, 1)),
    sizes=st.lists(st.integers()).map(tuple),
    weights=st.dictionaries(st.text(), st.floats(allow_nan=False)),
    threads=st.just("auto") | st.integers(),
    workers=st.integers(),
)


@given(outers)
def test_a_config_survives_the_way_through_plain_data(config):
    assert from_dict(Outer, to_dict(config), "here") == config


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "x", "iner": {}}, "here: unknown key 'iner'; did you mean 'inner'?"),
        ({"name": "x", "maybe": {"rat": 1}}, "here.maybe: unknown key 'rat'; did you mean 'rate'?"),
        (
            {"name": "x", "inner": {"mode": "fats"}},
            "here.inner.mode: 'fats' (str) is not a choice; did you mean 'fast'?",
        ),
        ({"name": "x", "inner": {"rate": -1}}, "here.inner: rate is at least 0, found -1.0"),
        ({"name": "x", "inner": 3}, "here.inner: expected keys of Inner, found 3 (int)"),
        ({"name": "x", "sizes": [1, "two"]}, "here.sizes[1]: expected a whole number, found 'two' (str)"),
        ({"name": "x", "sizes": [True]}, "here.sizes[0]: expected a whole number, found True (bool)"),
        ({"name": "x", "pair": [1]}, "here.pair: expected 2 values, found 1"),
        ({"name": "x", "weights": {"a": "b"}}, "here.weights.a: expected a number, found 'b' (str)"),
        ({"name": 3}, "here.name: expected text, found 3 (int)"),
        ({}, "here: missing name"),
        ([], "here: expected keys of Outer, found [] (list)"),
    ],
)
def test_a_mistake_is_named_with_its_place(data, message):
    assert message in error(data)


def test_numbers_are_read_as_people_write_them_in_yaml():
    config = from_dict(Outer, {"name": "x", "inner": {"rate": "1e-3"}, "sizes": 4, "pair": [2.0, 3]}, "here")
    assert (config.inner.rate, config.sizes, config.pair) == (1e-3, (4,), (2, 3.0))
    assert type(config.pair[0]) is int
    assert type(config.pair[1]) is float


def test_runtime_fields_are_kept_apart():
    config = Outer("x", workers=8)
    assert "workers" not in fingerprint_dict(config, str)
    assert runtime_dict(config) == {"workers": 8}


def test_files_are_found_by_path_pattern_and_folder_and_a_miss_is_an_error(tmp_path):
    for name in ("b.warc", "a.warc", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in matching_files([str(tmp_path / "*.warc"), str(tmp_path / "a.warc")])] == [
        "a.warc",
        "b.warc",
    ]
    assert len(matching_files([str(tmp_path)])) == 3
    with pytest.raises(ConfigError, match="no file matches"):
        matching_files([str(tmp_path / "*.zip")])

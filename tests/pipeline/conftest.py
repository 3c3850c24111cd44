"""A toy recipe whose steps live in toy_steps.py."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

import toy_steps  # noqa: E402

from athanor.pipeline.launch import Launch  # noqa: E402
from athanor.pipeline.recipe import Recipe  # noqa: E402
from athanor.pipeline.step import Step  # noqa: E402

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def make_recipe() -> MakeRecipe:
    """Builds the recipe numbers -> total; keyword arguments go to the configs' fields."""

    def make(add: int = 0, fail: bool = False, launch: Launch | None = None, **count: object) -> Recipe:
        launch = launch or Launch(environment={"PYTHONPATH": HERE})
        numbers = Step("numbers", "toy.count", "toy_steps:count", toy_steps.Count(**count), launch=launch)
        config = toy_steps.Total(add=add, fail=fail)
        total = Step("total", "toy.total", "toy_steps:total", config, {"numbers": numbers}, launch=launch)
        return Recipe("toy", {"numbers": numbers, "total": total}, publish={"total.json": "total", "result": "total"})

    return make

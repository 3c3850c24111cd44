"""Recipes in YAML: what they accept, and what they say about mistakes."""

from pathlib import Path

import pytest

from athanor.core.config import ConfigError
from athanor.crawl.config import Crawl, Site
from athanor.pipeline.recipe import Recipe, load_recipe, step

GOOD = """
name: tiny
seed: 7
publish: {documents: extract}
steps:
  extract:
    kind: data.extract
    from: {pages: crawl}
  crawl:
    kind: crawl
    site: {urls: [https://example.org/], max_pages: 10}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def error(tmp_path: Path, text: str, *settings: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_recipe(write(tmp_path, text), settings)
    return str(raised.value)


def test_steps_are_wired_and_ordered(tmp_path):
    recipe, _ = load_recipe(write(tmp_path, GOOD))
    assert list(recipe.steps) == ["crawl", "extract"]
    assert recipe.steps["extract"].inputs["pages"] is recipe.steps["crawl"]
    assert recipe.steps["crawl"].config.site.max_pages == 10


def test_settings_win_over_the_recipe_and_the_merged_data_says_so(tmp_path):
    recipe, merged = load_recipe(write(tmp_path, GOOD), ["crawl.site.max_pages=99"])
    assert recipe.steps["crawl"].config.site.max_pages == 99
    assert merged["steps"]["crawl"]["site"]["max_pages"] == 99


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_pages: 10", "max_page: 10", "step crawl.site: unknown key 'max_page'; did you mean 'max_pages'?"),
        ("kind: crawl\n", "kind: craw\n", "step crawl: unknown kind 'craw'; did you mean 'crawl'?"),
        ("pages: crawl", "pages: craw", "step extract.from.pages: no step 'craw'; did you mean 'crawl'?"),
        (
            "pages: crawl",
            "page: crawl",
            "step extract.from: kind data.extract has no input 'page'; did you mean 'pages'?",
        ),
        (
            "kind: data.extract\n    from: {pages: crawl}",
            "kind: data.filter",
            "step extract: kind data.filter needs input documents",
        ),
        ("max_pages: 10", "max_pages: many", "step crawl.site.max_pages: expected a whole number, found 'many' (str)"),
        ("max_pages: 10", "scope: hots", "step crawl.site.scope: 'hots' (str) is not a choice; did you mean 'host'?"),
        ("seed: 7", "sead: 7", "unknown key 'sead'; did you mean 'seed'?"),
        ("documents: extract", "documents: extrat", "publish.documents: no step 'extrat'; did you mean 'extract'?"),
        ("seed: 7", "seed: 7\nseed: 8", "key 'seed' given twice"),
        (
            "kind: crawl\n",
            "kind: data.extract\n    from: {pages: extract}\n",
            "in a circle: extract -> crawl -> extract",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_and_a_suggestion(tmp_path, old, new, message):
    text = GOOD.replace(old, new)
    if "circle" in message:
        text = text.replace("    site: {urls: [https://example.org/], max_pages: 10}\n", "")
    assert message in error(tmp_path, text)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("crawl.site.max_pages", "expected step.field=value"),
        ("craw.site.max_pages=3", "no step 'craw'; did you mean 'crawl'?"),
        ("crawl.sit.max_pages=3", "step crawl: unknown key 'sit'; did you mean 'site'?"),
    ],
)
def test_a_mistaken_setting_is_explained(tmp_path, setting, message):
    assert message in error(tmp_path, GOOD, setting)


def test_a_missing_recipe_suggests_one_that_exists(tmp_path):
    write(tmp_path, GOOD)
    with pytest.raises(ConfigError, match=r"no such recipe; did you mean '.*recipe\.yaml'"):
        load_recipe(tmp_path / "recip.yaml")


def test_the_same_pipeline_in_python_has_the_same_fingerprints(tmp_path):
    from_yaml, _ = load_recipe(write(tmp_path, GOOD))
    pages = step("crawl", "crawl", Crawl(site=Site(urls=("https://example.org/",), max_pages=10)))
    documents = step("extract", "data.extract", pages=pages)
    recipe = Recipe("tiny", {made.name: made for made in (pages, documents)})
    assert {n: s.fingerprint for n, s in recipe.steps.items()} == {n: s.fingerprint for n, s in from_yaml.steps.items()}

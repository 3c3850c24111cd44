import subprocess
import sys

import pytest

from athanor.core.config import ConfigError, from_dict, to_dict
from athanor.crawl.config import CommonCrawl, Crawl, PythonDocs, Site


def test_importing_the_configs_imports_nothing_heavy() -> None:
    heavy = ("torch", "httpx", "fastwarc", "numpy")
    code = f"import sys, athanor.crawl.config; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_configs_survive_the_way_to_yaml_and_back() -> None:
    for config in (
        Crawl(warc=("a/*.warc.gz",)),
        Crawl(site=Site(urls=("http://x.org/",), deny=("a", "b"))),
        Crawl(common_crawl=CommonCrawl(sample=3)),
        Crawl(python_docs=PythonDocs(packages=())),
    ):
        assert from_dict(Crawl, to_dict(config), "test") == config


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({}, "nothing to crawl"),
        ({"site": {"urls": ["http://x.org"]}, "python_docs": {}}, "site and python_docs"),
        ({"site": {"urls": []}}, "at least one page"),
        ({"site": {"urls": ["example.org"]}}, "not an http or https URL"),
        ({"site": {"urls": ["http://x.org"], "deny": ["("]}}, "not a regular expression"),
        ({"site": {"urls": ["http://x.org"], "max_pages": 0}}, "max_pages: must be above 0"),
        ({"site": {"urls": ["http://x.org"], "user_agent": " "}}, "says who it is"),
        ({"site": {"urls": ["http://x.org"], "scope": "hosts"}}, "did you mean 'host'"),
        ({"common_crawl": {"crawl": "../etc"}}, "does not look like a release"),
        ({"python_docs": {"packages": [], "standard_library": False}}, "nothing to serve"),
    ],
)
def test_a_config_that_cannot_work_says_why(data: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        from_dict(Crawl, data, "recipe: crawl")


def test_files_already_there_win_over_the_recipe_s_source() -> None:
    assert Crawl(warc=("a.warc",), python_docs=PythonDocs()).warc == ("a.warc",)

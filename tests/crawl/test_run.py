from pathlib import Path

import pytest
from web import html, serve

from athanor.core.artifact import read_jsonl
from athanor.crawl.config import Crawl, Site
from athanor.crawl.run import run


def test_given_files_are_linked_and_nothing_is_fetched(tmp_path: Path, fidelity: Path) -> None:
    config = Crawl(warc=(str(fidelity / "data" / "warc" / "*"),), site=Site(urls=("http://192.0.2.1/",)))
    metrics = run(config, {}, tmp_path)
    assert metrics["files"] == 10 and metrics["size_bytes"] > 0
    assert [path.name for path in sorted(tmp_path.glob("0*"))][:3] == ["00000.warc.gz", "00001.warc.gz", "00002.warc"]
    assert list(read_jsonl(tmp_path / "skipped.jsonl")) == []


def test_files_that_do_not_exist_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file matches"):
        run(Crawl(warc=(str(tmp_path / "*.warc.gz"),)), {}, tmp_path)


def test_a_site_is_crawled(tmp_path: Path) -> None:
    with serve({"/": html("/a"), "/a": html()}) as web:
        metrics = run(Crawl(site=Site(urls=(web.url,), delay_seconds=0.0)), {}, tmp_path)
    assert metrics["pages"] == 2

"""The `crawl` step: raw pages as WARC files in the step's folder, whatever source the config names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from athanor.core.artifact import write_jsonl
from athanor.core.config import matching_files
from athanor.crawl.common_crawl import crawl_common_crawl
from athanor.crawl.config import Crawl
from athanor.crawl.python_docs import crawl_python_docs
from athanor.crawl.site import crawl_site
from athanor.crawl.warc import link_files


def run(config: Crawl, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Fill `out` with WARC files and `skipped.jsonl`; returns counts.

    With `warc` given, those files are linked and nothing is fetched.
    """
    if config.warc:
        return use_files(config.warc, out)
    if config.site is not None:
        return crawl_site(config.site, out)
    if config.common_crawl is not None:
        return crawl_common_crawl(config.common_crawl, out)
    assert config.python_docs is not None, "Crawl checks that one source is given"
    return crawl_python_docs(config.python_docs, out)


def use_files(patterns: tuple[str, ...], out: Path) -> dict[str, Any]:
    """Link the WARC files that `patterns` name into `out`; returns counts."""
    links = link_files(matching_files(patterns), out)
    write_jsonl(out / "skipped.jsonl", [])
    return {"files": len(links), "size_bytes": sum(link.stat().st_size for link in links), "skipped": {}}

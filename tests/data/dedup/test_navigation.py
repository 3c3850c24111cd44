"""The rule of repeated lines takes the navigation out of documentation sites that were crawled, and leaves their text.

What is navigation is told by the pages' own HTML (`documentation_sites.py`), which the rule never sees.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from athanor.core.documents import Document, read_documents, write_shard
from athanor.data.dedup import step
from athanor.data.dedup.config import Dedup, RepeatedLines

from .documentation_sites import SITES, LabelledPage, Site, crawl, labelled_pages

NUM_PAGES = 220
FEWEST_LABELLED = 200


@pytest.fixture(scope="module", params=SITES, ids=[site.name for site in SITES])
def pages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[LabelledPage]:
    """The pages of one site, crawled once."""
    site: Site = request.param
    if not site.folder:
        pytest.skip(f"{site.pattern} not found; install it with: apt-get install {site.package}")
    return list(labelled_pages(site, crawl(site, NUM_PAGES, tmp_path_factory.mktemp(site.name))))


def words_in(lines: Counter[str]) -> int:
    return sum(len(line.split()) * times for line, times in lines.items())


def cleaned_lines(pages: list[LabelledPage], rule: RepeatedLines, folder: Path) -> list[Counter[str]]:
    """The lines of each page that the step leaves."""
    documents = [Document(f"{i:05d}", page.url, "\n".join(page.lines)) for i, page in enumerate(pages)]
    write_shard(folder / "in" / "00000.parquet", documents)
    config = Dedup(exact=False, near=None, lines=rule)
    step.run(config, {"documents": folder / "in"}, folder / "out")
    left = {document.id: document.text for document in read_documents(folder / "out" / "documents")}
    return [Counter(left[document.id].split("\n")) for document in documents]


@pytest.mark.slow
def test_navigation_of_a_documentation_site_goes_and_its_text_stays(pages: list[LabelledPage], tmp_path: Path) -> None:
    assert len(pages) >= FEWEST_LABELLED
    rule = RepeatedLines(min_words_left=0)
    pages_with = Counter(line for page in pages for line in set(page.lines))
    counts: Counter[str] = Counter()
    for page, left in zip(pages, cleaned_lines(pages, rule, tmp_path), strict=True):
        text = Counter(
            line for line, is_navigation in zip(page.lines, page.is_navigation, strict=True) if not is_navigation
        )
        navigation = Counter(page.lines) - text
        gone = navigation - (left - text)  # a line in both is counted as text first
        recurring = Counter({line: n for line, n in navigation.items() if pages_with[line] > rule.max_documents})
        counts += Counter(
            navigation=navigation.total(),
            navigation_gone=gone.total(),
            recurring=recurring.total(),
            recurring_gone=(recurring & gone).total(),
            text_words=words_in(text),
            text_words_left=words_in(text & left),
        )
    assert counts["recurring"] > len(pages)
    print({name: f"{n:,}" for name, n in counts.items()})
    assert counts["recurring_gone"] >= 0.96 * counts["recurring"], counts
    assert counts["text_words_left"] >= 0.99 * counts["text_words"], counts


@pytest.mark.slow
def test_runs_measured_together_take_more_navigation(pages: list[LabelledPage], tmp_path: Path) -> None:
    pages = pages[::4]
    rule = RepeatedLines(min_words_left=0, gap_words=0)
    alone = cleaned_lines(pages, rule, tmp_path / "alone")
    together = cleaned_lines(pages, replace(rule, gap_words=16), tmp_path / "together")
    assert all(not more - fewer for fewer, more in zip(alone, together, strict=True))
    assert sum(lines.total() for lines in together) < sum(lines.total() for lines in alone)

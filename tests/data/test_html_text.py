"""Text from HTML reads well: line breaks, indentation and tables survive, navigation and oddities do not."""

import gzip
import json
import pydoc
import re
from collections import Counter
from pathlib import Path

import pytest

from athanor.data.html_text import html_to_text, tidied


def test_title_headings_paragraphs_and_lists() -> None:
    page = html_to_text(
        "<html><head><title> A \n title </title></head><body><h1>Head</h1><p>One.</p><p>Two<br>lines.</p>"
        "<ul><li>first<li>second</ul><script>var x = 1</script></body></html>",
        main_content=False,
    )
    assert page.title == "A title"
    assert page.text == "Head\n\nOne.\n\nTwo\nlines.\n\n  • first\n  • second"


def test_code_keeps_its_indentation_and_tabs_become_blanks() -> None:
    assert html_to_text("<pre>def f():\n\tif x:\n\t\treturn 1\n</pre>").text == "def f():\n    if x:\n        return 1"


def test_table_cells_are_parted_by_one_tab() -> None:
    html = "<table><tr><td>a<td><td>b</tr><tr><td>&nbsp;<td>c</tr></table>"
    assert html_to_text(html).text == "a\tb\nc"


def test_chosen_elements_are_left_out() -> None:
    html = "<body><div class=menu>Home</div><p>Text.</p><div style='float:left'>Ad</div></body>"
    assert html_to_text(html, skip=(".menu", "div[style*=float]")).text == "Text."


def test_navigation_is_dropped_unless_everything_is_wanted() -> None:
    html = "<body><nav><a href=/>Home</a> <a href=/x>About</a></nav><main><p>Text of the page.</p></main></body>"
    assert html_to_text(html).text == "Text of the page."
    assert "About" in html_to_text(html, main_content=False).text


def test_blank_and_invisible_characters_are_plain() -> None:
    assert tidied("a\u00a0b\u00ad\u200bc\r\n  indented \n\n\n\nd\x00") == "a bc\n  indented\n\nd"


def test_a_pydoc_page_reads_like_the_docstring() -> None:
    module = pydoc.locate("textwrap")
    page = pydoc.html.page("textwrap", pydoc.html.document(module, "textwrap"))
    text = html_to_text(page, skip=("td.extra",)).text
    assert "&nbsp;" not in text and "\u00a0" not in text and ".py" not in text.splitlines()[1]
    assert (
        "\n\nshorten(text, width, **kwargs)\nCollapse and truncate the given text to fit in the given width.\n\n"
        "The text first has its whitespace collapsed.  If it then fits in\nthe *width*, it is returned as is." in text
    )
    assert "    >>> textwrap.shorten(\"Hello  world!\", width=12)\n    'Hello world!'" in text


def test_precise_needs_its_extra_and_drops_what_is_no_article() -> None:
    pytest.importorskip("trafilatura")
    paragraph = "This is a paragraph of an article, long enough for it to be taken as such by anyone who reads it. "
    paragraphs = "".join(f"<p>Number {i} begins. {paragraph * 3}</p>" for i in range(4))
    html = f"<html><body><nav>Home</nav><article>{paragraphs}</article></body>"
    text = html_to_text(html, method="precise").text
    assert text.count("long enough") == 12 and "Home" not in text
    assert html_to_text(html, method="precise").text == text


def shingles(text: str, n: int = 4) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+", text)
    return Counter(tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1)))


@pytest.mark.slow
def test_bodies_of_news_pages_marked_by_people_are_found(fidelity: Path) -> None:
    with gzip.open(fidelity / "data" / "aeb_pages_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    precision = recall = 0.0
    for row in rows:
        found, wanted = shingles(html_to_text(row["html"]).text), shingles(row["article_body"])
        common = (found & wanted).total()
        precision += common / found.total() / len(rows)
        recall += common / wanted.total() / len(rows)
    assert 2 * precision * recall / (precision + recall) > 0.90, (precision, recall)

"""Pages made, or broken, so that a reader hangs: each is read in time in proportion to its size, and gives its text."""

import pytest

from athanor.data.html_text import html_to_text
from athanor.data.limited import Limited

TEXT = "Some text, here."
PAGES = {
    "elements nested deeply": "<div>" * 50_000 + f"<p>{TEXT}",
    "inline elements nested deeply": "<p>" + "<b>" * 50_000 + TEXT,
    "lists nested deeply": "<ul><li>" * 20_000 + TEXT,
    "tables nested deeply": "<table><tr><td>" * 10_000 + TEXT,
    "drawings nested deeply": "<svg>" * 20_000 + f"<p>{TEXT}",
    "templates nested deeply": f"<p>{TEXT}</p>" + "<template>" * 10_000,
    "fractions nested deeply": f"<p>{TEXT}</p><math>" + "<mfrac><mi>a</mi>" * 2_000,
    "elements closed in the wrong order": "<b><p></b><i></p>" * 2_000 + f"<p>{TEXT}",
    "ends without beginnings": "</b></i></div></p>" * 20_000 + f"<p>{TEXT}",
    "very many attributes": "<p " + " ".join(f"a{n}=1" for n in range(5_000)) + f">{TEXT}",
    "a very long class": f'<p class="{"share-widget-" * 50_000}">{TEXT}',
    "a comment that never ends": f"<p>{TEXT}</p><!-- " + "x" * 1_000_000,
    "a script that never ends": f"<p>{TEXT}</p><script>" + "x<y" * 300_000,
    "a tag that never ends": f"<p>{TEXT}</p><a href='" + "x" * 1_000_000,
    "nothing but openings": f"<p>{TEXT}</p><script></script>" + "<" * 500_000,
    "nothing but ampersands": f"<p>{TEXT}</p><p>" + "&" * 500_000,
    "characters that are none": f"<p>{TEXT}</p>" + "&#0;&#xD800;&#x110000;&#x80;" * 20_000,
    "NUL": f"\0<p\0>\0</p><p>{TEXT[:4]}\0{TEXT[4:]}\0",
    "thousands of exponents": f"<p>{TEXT}</p><p>" + "10<sup>5</sup>" * 5_000,
    "thousands of formulas": f"<p>{TEXT}</p><p>" + "<math><mi>x</mi></math>" * 5_000,
    "thousands of line numbers": f"<p>{TEXT}</p><pre>" + "<span class=lineno>1</span>a\n" * 3_000,
    "a long item of every list": f"<p>{TEXT}</p>" + "<ol><li>Item, one." * 20_000,
    "tabs": f"<p>{TEXT}</p><pre>" + "\t" * 200_000 + "x",
}


@pytest.fixture(scope="module")
def limited() -> Limited[..., object]:
    with Limited(html_to_text, seconds=25.0) as limited:
        yield limited  # type: ignore[misc]


@pytest.mark.parametrize("page", PAGES)
def test_a_hostile_page_gives_its_text(page: str, limited: Limited[..., object]) -> None:
    text = limited(PAGES[page], "native").text  # type: ignore[attr-defined]
    assert TEXT in text


@pytest.mark.slow
def test_a_page_of_thirty_megabytes_is_read(limited: Limited[..., object]) -> None:
    page = limited(f"<p>{TEXT}</p>" * 1_300_000, "native")
    assert page.text.count(TEXT) == 1_300_000  # type: ignore[attr-defined]

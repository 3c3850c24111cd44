"""What is left out before parsing is never text, and what is looked for is found in tags only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from athanor.data.extraction.native import native_text
from athanor.data.extraction.prescan import Prescan

prescan = Prescan(["<math", "lineno", "data-tex", "math/"])


@pytest.mark.parametrize(
    ("page", "light"),
    [
        ("<p>a</p><script>if (a < b) </p>c</script ><p>b", "<p>a</p><script></script ><p>b"),
        ("<STYLE media=x>p > a {}</StyLe>b", "<STYLE media=x></StyLe>b"),
        ("a<!-- <p>b -- > --!>c<!-->d<!--->e", "acde"),
        ("a<!-- never closed <p>b", "a"),
        ("a<script>never closed <p>b", "a<script>"),
        ("<script>x</scripts>y</script>z", "<script></script>z"),
        ("<scripted>x</scripted>", "<scripted>x</scripted>"),
        ("<a title='<script>'>b</a>", "<a title='<script>'>b</a>"),
        ('<a title="a > <!-- b">c</a>', '<a title="a > <!-- b">c</a>'),
        ("<script><!-- <script>a</script> --></script>b", "<script><!-- <script>a</script> --></script>b"),
        ("<script type=math/tex>x^2</script>", "<script type=math/tex>x^2</script>"),
        ("<svg><style/><text>a</text></svg>", "<svg><style/><text>a</text></svg>"),
        ("1 < 2 <3", "1 < 2 <3"),
        ("<", "<"),
        ("", ""),
    ],
)
def test_scripts_styles_and_comments_are_left_out(page: str, light: str) -> None:
    assert prescan(page.encode())[0].decode() == light


def test_words_are_found_in_tags_at_the_beginnings_of_words() -> None:
    assert prescan(b"<p>lineno <math>, data-tex</p>")[1] == {"<math"}
    assert prescan(b'<SPAN CLASS="hll LineNo">1</SPAN><b data-tex="x">')[1] == {"lineno", "data-tex"}
    assert prescan(b'<p class=xlineno><script>"<p class=lineno>"</script>')[1] == set()


PIECES = [
    "<p>",
    "</p>",
    "<script>",
    "</script>",
    "<!--",
    "-->",
    "<style>",
    "</style>",
    "a, b. ",
    "<b title='",
    "'>",
    "x>y",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_the_text_is_as_without_leaving_anything_out(pieces: list[str]) -> None:
    page = "<p>First.</p>" + "".join(pieces)

    def words(html: str) -> list[str]:
        return native_text(HTMLTree.parse(html), main_content=False).split()

    assert "".join(words(prescan(page.encode())[0].decode())) == "".join(words(page))

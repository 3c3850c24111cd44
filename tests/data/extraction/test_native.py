"""The package's own extraction: what is content on pages of many kinds, and how it is laid out."""

import numpy as np
import pytest

from athanor.data.extraction.outline import outline
from athanor.data.extraction.vocabulary import HINTS, TAG, hashed
from athanor.data.html_text import html_to_text

SENTENCE = "This is a sentence of the article, long enough to be told from a menu by anyone. "
PARAGRAPH = f"<p>{SENTENCE * 3}</p>"


def native(html: str) -> str:
    return html_to_text(html, "native").text


def test_an_outline_by_hand() -> None:
    page = outline(
        np.frombuffer(b'<p>One, <a href="x">two</a> &amp; 3.<div class="relatedPosts">x</div></p>', np.uint8)
    )
    assert page.tag.tolist() == [TAG["p"], TAG["a"], TAG["div"]]
    assert page.parent.tolist() == [-1, 0, 0]
    assert page.hints.tolist() == [0, HINTS.link, HINTS.widget]
    assert page.block_element.tolist() == [0, 2]
    assert page.characters.tolist() == [len("One, two & 3."), 1] and page.link_characters.tolist() == [3, 0]
    assert page.words.tolist() == [4, 1] and page.commas.tolist() == [1, 0] and page.stops.tolist() == [1, 0]


def test_words_of_names_are_hashed_as_fnv_1a() -> None:
    assert hashed("foobar") == 0x85944171F73967E8  # from the reference's list of test vectors


LAYOUT = """
<main><h1>Head</h1><p>Intro with <code>x = 1</code>,
 a <a href=y>link</a> and&nbsp;more.</p>
<ul><li>first <b>b</b><ul><li>nested<li><p>with</p><p>paragraphs</p></ul><li>third</ul>
<ol><li>one<li>two</ol>
<dl><dt>term<dd>its definition</dl>
<table><caption>Caption</caption><tr><th>A<th>B<tr><td>1<td>2<tr><td><p>p</p><p>q</p><td><ul><li>x<li>y</ul></table>
<pre>
def f():
\treturn 1

a  &lt;  b</pre>
<blockquote><p>Quoted.</p></blockquote><hr><p>The end,<br>in two lines.</p></main>
"""
LAID_OUT = """Head

Intro with x = 1, a link and more.

- first b
  - nested
  - with

    paragraphs
- third

1. one
2. two

term
its definition

Caption
A\tB
1\t2
p q\tx y

def f():
    return 1

a  <  b

Quoted.

The end,
in two lines."""


def test_layout_by_hand() -> None:
    assert native(LAYOUT) == LAID_OUT


def test_tables_that_only_arrange_the_page_are_read_cell_after_cell() -> None:
    html = f"<table><tr><td>{PARAGRAPH * 3}<td><table><tr><td>1<td>2</table>{PARAGRAPH}</table>"
    assert native(html).count("\n\n") >= 4 and "1\t2" in native(html)


def test_what_stands_around_an_article_is_dropped() -> None:
    html = (
        "<body class='has-sidebar menu-open'><header><nav><ul><li><a href=/>Home</a><li><a href=/n>News</a></ul></nav>"
        "</header>"
        "<div class='breadcrumb'><a href=/>Home</a> / <a href=/n>News</a></div>"
        f"<div id=content><h1>Title of it</h1><div class='byline'>By Someone, today.</div>{PARAGRAPH * 2}"
        "<figure><img src=x><figcaption>What the picture shows, in a sentence. Photo: Someone.</figcaption></figure>"
        f"<h2>Part two</h2>{PARAGRAPH}<div class='share-buttons'>Share this article with friends, please.</div>"
        f"<p>Short one.</p>{PARAGRAPH}"
        "<div class=relatedPosts><h3>Related</h3><ul><li><a href=a>Another story</a></ul></div></div>"
        f"<div id=comments><p>{SENTENCE}</p></div><aside><p>{SENTENCE}</p></aside>"
        "<footer><p>Copyright, all rights.</p></footer>"
    )
    body = (SENTENCE * 3).strip()
    assert native(html) == f"Title of it\n\n{body}\n\n{body}\n\nPart two\n\n{body}\n\nShort one.\n\n{body}"


def test_every_post_of_a_forum_is_kept() -> None:
    posts = "".join(
        f'<div id="p{n}" class="post"><div class="postprofile"><a href=u{n}>user{n}</a></div><div class="postbody">'
        f'<div class="content">Post number {n} says something, and it ends with a stop.</div></div></div>'
        for n in range(20)
    )
    text = native(f"<body><div id=nav><a href=/>Board index</a></div><div id=page-body>{posts}</div></body>")
    assert [f"Post number {n} says" in text for n in range(20)] == [True] * 20 and "Board index" not in text


def test_a_page_of_nothing_but_comments_is_read() -> None:
    comments = "".join(f"<div class=comment><p>Comment {n}: {SENTENCE}</p></div>" for n in range(5))
    assert native(f"<body><div class=comments>{comments}</div></body>").count(SENTENCE.strip()) == 5


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("Text without any element.", "Text without any element."),
        ("<ul><li><a href=a>One</a><li><a href=b>Two</a></ul>", "- One\n- Two"),
        ("<nav><a href=a>Only</a></nav>", "Only"),
        ("<table><tr><td>1<td>2</table>", "1\t2"),
        ("<div class=popup>Accept?</div>", "Accept?"),
        ("", ""),
        ("<script>x</script>", ""),
    ],
)
def test_a_page_without_prose_gives_what_it_has(html: str, text: str) -> None:
    assert native(html) == text


@pytest.mark.parametrize(
    "sentence",
    [
        "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
        "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.",
        "في البدء خلق الله السماوات والأرض، وكانت الأرض خربة وخالية، وعلى وجه الغمر ظلمة.",
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है।",
        "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    ],
)
def test_scripts_of_the_world(sentence: str) -> None:
    menu = f"<ul class=menu><li><a href=/>{sentence[:6]}</a></ul>"
    html = f"<body>{menu}<div><p>{sentence * 2}</p><p>{sentence}</p></div></body>"
    assert native(html) == f"{sentence * 2}\n\n{sentence}"


def test_hidden_text_is_not_read() -> None:
    html = (
        f"{PARAGRAPH}<p style='color:red; display: none'>secret</p><p hidden>secret</p>"
        "<span class='sr-only'>secret</span>"
        f"<p style='visibility:hidden'>secret</p><template><p>secret</p></template>{PARAGRAPH}"
    )
    assert "secret" not in native(html)


def test_a_hint_that_would_condemn_the_whole_page_is_void() -> None:
    assert native(f"<div class='popup widget sidebar'>{PARAGRAPH * 4}</div>").count(SENTENCE.strip()) == 12


def test_a_home_page_keeps_its_list_of_publications() -> None:
    works = "".join(
        f"<li><div><div>A study of the subject, number {n}</div><div>A. Author, B. Author</div>"
        f"<div>Venue {2000 + n}</div><div><a href=p{n}>PDF</a></div></div>"
        for n in range(9)
    )
    menu = "<nav><a href=/>Home</a></nav>"
    text = native(f"<body>{menu}<div>{PARAGRAPH}<h2>Works</h2><div>By year</div><ol>{works}</ol></div>")
    assert all(f"number {n}\n" in text and f"Venue {2000 + n}" in text for n in range(9)) and "Home" not in text


def test_rows_of_a_table_are_kept_whole() -> None:
    rows = "".join(f"<tr><th><a href=l{n}>Label {n}</a><td>{n},5 km, about" for n in range(3))
    assert "Label 0\t0,5 km, about\nLabel 1\t1,5 km" in native(
        f"<body>{PARAGRAPH}<table>{rows}</table>{PARAGRAPH}</body>"
    )

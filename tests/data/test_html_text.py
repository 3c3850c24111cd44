"""Text from HTML reads well: line breaks, indentation and tables survive, navigation and oddities do not."""

import pydoc

import pytest

from athanor.data.html_text import Method, html_to_text, tidied


def test_title_headings_paragraphs_and_lists() -> None:
    page = html_to_text(
        "<html><head><title> A \n title </title></head><body><h1>Head</h1><p>One.</p><p>Two<br>lines.</p>"
        "<ul><li>first<li>second</ul><script>var x = 1</script></body></html>",
        main_content=False,
    )
    assert page.title == "A title"
    assert page.text == "Head\n\nOne.\n\nTwo\nlines.\n\n- first\n- second"


METHODS = ("fast", "native")


@pytest.mark.parametrize("method", METHODS)
def test_code_keeps_its_indentation_and_tabs_become_blanks(method: Method) -> None:
    html = "<pre>def f():\n\tif x:\n\t\treturn 1\n</pre>"
    assert html_to_text(html, method).text == "def f():\n    if x:\n        return 1"


@pytest.mark.parametrize("method", METHODS)
def test_table_cells_are_parted_by_one_tab(method: Method) -> None:
    html = "<table><tr><td>a<td><td>b</tr><tr><td>&nbsp;<td>c</tr></table>"
    assert html_to_text(html, method).text == "a\tb\nc"


@pytest.mark.parametrize("method", METHODS)
def test_chosen_elements_are_left_out(method: Method) -> None:
    html = "<body><div class=menu>Home</div><p>Text.</p><div style='float:left'>Ad</div></body>"
    assert html_to_text(html, method, skip=(".menu", "div[style*=float]")).text == "Text."


@pytest.mark.parametrize("method", METHODS)
def test_navigation_is_dropped_unless_everything_is_wanted(method: Method) -> None:
    html = "<body><nav><a href=/>Home</a> <a href=/x>About</a></nav><main><p>Text of the page.</p></main></body>"
    assert html_to_text(html, method).text == "Text of the page."
    assert "About" in html_to_text(html, method, main_content=False).text


CODE = "def f():\n    return 1\n\nclass A:\n    pass"
ARTICLE = "<p>A paragraph that explains what the code does, with a comma and two sentences. It is here to be kept.</p>"
LISTINGS = {
    "Sphinx, numbers in a cell": (
        '<div class="highlight-python3"><table class="highlighttable"><tr><td class="linenos"><div class="linenodiv">'
        "<pre>"
        f'1\n2\n3\n4\n5</pre></div></td><td class="code"><div><pre>{CODE}</pre></div></td></tr></table></div>'
    ),
    "Pygments, numbers in the lines": "<div class=highlight><pre>"
    + "\n".join(f'<span class="lineno">{n}</span>{line}' for n, line in enumerate(CODE.split("\n"), start=1))
    + "</pre></div>",
    "breaks as elements": f"<pre><code>{CODE.replace(chr(10), '<br>')}</code></pre>",
    "coloured": f"<pre><code>{CODE.replace('return', '<span class=k>return</span>')}</code></pre>",
}


@pytest.mark.parametrize("method", ["fast", "native", "precise"])
@pytest.mark.parametrize("listing", LISTINGS)
def test_code_is_kept_as_it_is_without_line_numbers(method: Method, listing: str) -> None:
    if method == "precise":
        pytest.importorskip("trafilatura")
    text = html_to_text(f"<body><article>{ARTICLE}{LISTINGS[listing]}{ARTICLE}</article></body>", method).text
    assert CODE in text and "1\n2" not in text, text


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

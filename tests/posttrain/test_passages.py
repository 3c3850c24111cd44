"""Pages of several shapes as a reader meets them."""

from resiliparse.parse.html import HTMLTree

from athanor.posttrain.passages import Passage, passages


def read(html: str) -> list[Passage]:
    return passages(HTMLTree.parse(html))


def test_headings_terms_and_paragraphs_come_in_reading_order():
    found = read(
        "<body><h1>Tea <a href=#x>¶</a></h1><p>A hot <b>drink</b>.</p><dl><dt id=green>green tea</dt>"
        "<dd><p>It is not oxidised.</p></dd></dl><h2 id=use>Use</h2><ul><li>cups</li></ul></body>"
    )
    assert [(p.kind, p.text) for p in found] == [
        ("heading", "Tea ¶"),
        ("paragraph", "A hot drink."),
        ("term", "green tea"),
        ("paragraph", "It is not oxidised."),
        ("heading", "Use"),
        ("item", "cups"),
    ]
    assert [(p.level, p.anchor) for p in found if p.kind != "paragraph"] == [(1, ""), (0, "green"), (2, "use"), (0, "")]


def test_an_empty_line_ends_a_paragraph_and_indented_lines_are_code():
    nbsp = "&nbsp;"
    found = read(f"<body><p>One<br>line.<br>{nbsp}<br>{nbsp * 4}x = 1<br>{nbsp}<br>Two.</p></body>")
    assert [(p.kind, p.text) for p in found] == [("paragraph", "One line."), ("code", "x = 1"), ("paragraph", "Two.")]


def test_elements_that_hold_nothing_do_not_change_what_follows():
    found = read(
        "<body><form><input><input></form><nav>menu</nav><h2>A</h2><hr><table><tr><td></td><td>cell</td></tr></table>"
        "<dl><dt><a name='x'></a>term</dt><dd></dd></dl><p>text<img src=a>more</p></body>"
    )
    assert [(p.kind, p.text) for p in found] == [
        ("heading", "A"),
        ("paragraph", "cell"),
        ("term", "term"),
        ("paragraph", "textmore"),
    ]
    assert found[2].anchor == "x"


def test_preformatted_text_is_code_and_scripts_are_nothing():
    found = read("<body><pre>a\n  b</pre><script>x()</script><p>c</p><style>p{}</style></body>")
    assert [(p.kind, p.text) for p in found] == [("code", "a\n  b"), ("paragraph", "c")]


def test_a_page_without_a_body_has_no_passages():
    assert read("") == []

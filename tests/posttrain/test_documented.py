"""Names and answers on real pages of pydoc and on pages of other kinds."""

import collections
import json.decoder
import posixpath
import pydoc
import types

import pytest
from resiliparse.parse.html import HTMLTree

from athanor.posttrain.documented import Answer, NoAnswer, documented_names, not_prose, whole_sentences
from athanor.posttrain.passages import passages


def read(html: str, min_characters: int = 20) -> list[Answer | NoAnswer]:
    tree = HTMLTree.parse(html)
    return documented_names(passages(tree), tree.title or "", min_characters, max_characters=240)


def answers(html: str, min_characters: int = 20) -> dict[str, Answer]:
    return {found.name: found for found in read(html, min_characters) if isinstance(found, Answer)}


def pydoc_page(module: types.ModuleType) -> str:
    return pydoc.html.page(f"module {module.__name__}", pydoc.html.document(module, module.__name__))


def test_functions_of_a_pydoc_page_are_qualified_and_described():
    found = answers(pydoc_page(posixpath))
    join = found["posixpath.join"]
    assert join.kind == "function"
    assert join.anchor == "-join"
    assert join.answer.startswith("Join two or more pathname components, inserting '/' as needed.")
    assert "\n" not in join.answer
    assert found["posixpath"].kind == "module"


def test_classes_methods_and_attributes_of_a_pydoc_page_carry_their_class():
    assert answers(pydoc_page(collections))["collections.Counter"].kind == "class"
    found = answers(pydoc_page(json.decoder))
    assert found["json.decoder.JSONDecoder.decode"].kind == "method"
    assert found["json.decoder.JSONDecoder.decode"].answer.startswith("Return the Python representation of")
    attributes = [name for name, answer in answers(pydoc_page(collections)).items() if answer.kind == "attribute"]
    assert all(name.count(".") >= 2 for name in attributes)


def test_private_names_aliases_and_signatures_are_left_out_with_a_reason():
    listed = "<dl><dt><strong>plus</strong> = add(a, b)</dt><dd>Return the sum of two numbers a and b.</dd></dl>"
    found = read(pydoc_page(collections).replace("</body>", f"{listed}</body>"))
    reasons = {row.name: row.reason for row in found if isinstance(row, NoAnswer)}
    assert reasons["collections.Counter.__init__"] == "a private name"
    assert reasons["collections.plus"] == "an alias"
    assert not any("__" in row.name for row in found if isinstance(row, Answer))


def test_a_sphinx_page_gives_its_full_names():
    html = """<head><title>os.path — Common pathname manipulations — Python documentation</title></head><body>
      <h1>os.path — Common pathname manipulations</h1><p>This module implements some useful functions on pathnames.</p>
      <dl class="py function"><dt id="os.path.abspath"><span class="sig-prename">os.path.</span>
      <span class="sig-name descname">abspath</span>(<em>path</em>)<a class="headerlink" href="#x">¶</a></dt>
      <dd><p>Return a normalized absolutized version of the pathname <em>path</em>.</p><p>More.</p></dd></dl></body>"""
    found = answers(html)
    assert found["os.path.abspath"].answer == "Return a normalized absolutized version of the pathname path."
    assert found["os.path.abspath"].kind == "function"
    assert found["os.path — Common pathname manipulations"].kind == "topic"


def test_a_glossary_and_an_article_need_no_code():
    html = """<head><title>Tea - A Garden Book</title></head><body><h1>Tea</h1>
      <p>Tea is made from the leaves of a shrub.</p><h2>Harvest</h2><ul><li>spring</li></ul>
      <p>The youngest leaves are picked by hand in spring.</p>
      <dl><dt>white tea</dt><dd>Leaves that are dried and not rolled.</dd></dl></body>"""
    found = answers(html)
    assert {name: row.kind for name, row in found.items()} == {
        "Tea": "topic",
        "Harvest": "section",
        "white tea": "term",
    }
    assert found["Harvest"].answer == "The youngest leaves are picked by hand in spring."
    assert found["Harvest"].title == "Tea"


def test_a_page_without_headings_is_asked_about_by_its_title():
    found = answers("<head><title>On rain</title></head><body><p>Rain falls from clouds when drops grow.</p></body>")
    assert found["On rain"].answer == "Rain falls from clouds when drops grow."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("alias for field number 2 of the tuple", "an alias"),
        ("add(x1, x2, /, out=None, *, where=True) -> ndarray", "only a signature"),
        ("Too short.", "too short"),
        ("The following options are understood by it:", "leads up to code or a list"),
        ("Parameters ---------- a : array to be sorted", "leads up to code or a list"),
        ("abc def >>> run it twice and see what happens", "leads up to code or a list"),
        ("[1] see the other page for this and that", "does not begin like a sentence"),
        ("A = 1, B = 2, C = 3, D = 4, E = 5, F = 6, G = 7;", "mostly symbols"),
        ("Incomprehensibilities notwithstanding.", "fewer than 5 words"),
        ("Return the real part of the complex number.", ""),
    ],
)
def test_what_is_no_answer_has_a_reason(text, reason):
    assert not_prose(text, min_characters=20) == reason


def test_long_answers_end_with_a_whole_sentence():
    text = "The first sentence. The second e.g. longer one (really). The third."
    assert whole_sentences(text, 100) == text
    assert whole_sentences(text, 60) == "The first sentence. The second e.g. longer one (really)."
    assert whole_sentences(text, 30) == "The first sentence."
    assert whole_sentences(text, 10) == ""

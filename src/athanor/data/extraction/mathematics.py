"""Mathematics of a page as TeX between dollar signs.

In: a parsed page. Out: the same page, changed in place: wherever its makers left the source of a formula (MathML and
annotations, MathJax's scripts, KaTeX, `data-` attributes, the `alt` of images) a text `$...$`, or `$$...$$` for
one on lines of its own, stands instead of what browsers show, so every method of extraction keeps it and none reads
it twice. MathML without a source is converted (`mathml.py`). Left out: formulas that exist only as pixels or as
positioned glyphs.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote

from resiliparse.parse.html import ElementNode, HTMLTree, Node

from athanor.data.extraction.mathml import plain_tex, tex_of_math

MARKERS = (
    "<math", "math/", "katex", "latex", "data-tex", "mathjax", "mjx-", "math ", '"math"', "math-", "ql-formula",
    "data-formula", "data-equation", "data-math", "data-asciimath", "arithmatex", "<sup", '"tex"', "mimetex", "mathtex",
)  # fmt: skip
"""A page whose tags contain none of these words has no formula that could be found."""
_MATHJAX_SHOWS = (
    ".MathJax_Preview, .MathJax, .MathJax_Display, .MathJax_SVG, .MathJax_SVG_Display, .MathJax_CHTML, .MJXc-display"
)
_LONGEST = 10_000
"""Characters of a formula in an attribute."""
_SOURCE_ATTRIBUTES = ("data-tex", "data-latex", "data-formula", "data-equation", "data-math", "data-asciimath")
_SAYS_TEX = re.compile(r"\\[A-Za-z]+|[\^_]\{|[\^_]\w|^\$.*\$$|[=+<>]")
_LATEX_IMAGE = re.compile(r"latex\.php\?|latex\.codecogs\.com|/(?:mathtex|mimetex)\.cgi\?|[?&](?:latex|tex|eq)=")
_FORMULA = re.compile(r"\\\((.*?)\\\)|\\\[(.*?)\\\]", re.DOTALL)
_EXPONENT = re.compile(r"[-+\u2212]?(?:\d+|[nmkijxytNT])")
_BASE = re.compile(r"(?:\d|\)|(?<![^\W\d_])[^\W\d_]{1,2})$")


def restore_mathematics(tree: HTMLTree) -> None:
    """Replace every formula in `tree` by its TeX."""
    _mathjax(tree)
    for katex in _all(tree, ".katex"):
        math = katex.query_selector("math")
        if math is not None:
            display = katex.closest(".katex-display")
            _write(tree, display or katex, tex_of_math(math), display is not None)
    for element in _all(tree, ".mwe-math-element"):
        math, image = element.query_selector("math"), element.query_selector("img")
        tex = tex_of_math(math) if math is not None else plain_tex(_attribute(image, "alt"))
        shown = element.query_selector(".mwe-math-mathml-display, .mwe-math-fallback-image-display")
        _write(tree, element, tex, shown is not None)
    for element in _all(tree, ", ".join(f"[{name}]" for name in _SOURCE_ATTRIBUTES)):
        source = next(filter(None, (_attribute(element, name) for name in _SOURCE_ATTRIBUTES)), "")
        if len(source) < _LONGEST and not source.startswith("{"):  # some sites keep JSON in such attributes
            _write(tree, element, plain_tex(source), "display" in _attribute(element, "class"))
    for element in _all(tree, ".ql-formula[data-value]"):
        _write(tree, element, plain_tex(_attribute(element, "data-value")), False)
    for math in _all(tree, "math"):
        _write(tree, math, tex_of_math(math), _attribute(math, "display") == "block")
    _images(tree)
    for element in _all(tree, ".math, .arithmatex"):
        _delimited(tree, element)
    _exponents(tree)


def text_node(tree: HTMLTree, text: str) -> Node:
    """A new piece of text for `tree`."""
    node = tree.create_text_node(text)
    assert node is not None
    return node


def _all(tree: HTMLTree, selector: str) -> Iterable[ElementNode]:
    return tree.document.query_selector_all(selector) if tree.document is not None else ()


def _attribute(element: ElementNode | None, name: str) -> str:
    return (element.get_attribute(name) or "") if element is not None else ""


def _write(tree: HTMLTree, element: ElementNode, tex: str, display: bool) -> None:
    """Put `tex` in the place of `element`; an empty formula leaves it as it is."""
    if not tex or element.parent_node is None:
        return
    if display:
        for insert in (element.before, element.after):
            line_break = tree.create_element("br")
            assert line_break is not None
            insert(line_break)
    element.replace_with(text_node(tree, f"$${tex}$$" if display else f"${tex}$"))


def _mathjax(tree: HTMLTree) -> None:
    """Versions 2 (sources in scripts, what is shown beside them) and 3 (MathML inside a container)."""
    scripts = list(_all(tree, 'script[type^="math/"]'))
    if scripts:
        for shown in _all(tree, _MATHJAX_SHOWS):
            shown.remove()
    for script in scripts:
        kind, source = _attribute(script, "type"), script.text_content or ""
        if kind.startswith("math/mml"):
            for mathml in _all(HTMLTree.parse(source), "math"):
                _write(tree, script, tex_of_math(mathml), _attribute(mathml, "display") == "block")
        else:
            _write(tree, script, plain_tex(source), "mode=display" in kind.replace(" ", ""))
    for container in _all(tree, "mjx-container"):
        math = container.query_selector("math")
        tex = tex_of_math(math) if math is not None else plain_tex(_attribute(container, "aria-label"))
        _write(tree, container, tex, _attribute(container, "display") == "true")


def _images(tree: HTMLTree) -> None:
    """Formulas drawn as images, with their source as alternative text or in the address."""
    for image in _all(tree, "img"):
        tex = plain_tex(_attribute(image, "alt"))
        classes = _attribute(image, "class").lower().split()
        address = _attribute(image, "src") or _attribute(image, "data-src")
        drawn = _LATEX_IMAGE.search(address)
        if drawn and not _SAYS_TEX.search(tex):
            tex = _tex_of_address(address) or tex
        if drawn or not {"math", "tex", "latex", "mwe-math-fallback-image-inline"}.isdisjoint(classes):
            _write(tree, image, tex, "mwe-math-fallback-image-display" in classes)


def _tex_of_address(address: str) -> str:
    """The formula that an address asks a service to draw.

    >>> _tex_of_address("https://latex.codecogs.com/gif.latex?x%5E2&plus;1")
    'x^2+1'
    >>> _tex_of_address("/latex.php?latex=a%2Bb&s=1")
    'a+b'
    """
    query = address.partition("?")[2]
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if equals and name in ("latex", "tex", "eq"):
            return plain_tex(unquote(value.replace("+", " ")))
    return plain_tex(unquote(query.replace("&plus;", "+").replace("&space;", " ")))


def _delimited(tree: HTMLTree, element: ElementNode) -> None:
    r"""`\(...\)` and `\[...\]` as Sphinx and others leave them for a script to show, with dollar signs."""
    source = element.text_content or ""
    if element.first_element_child is not None or "\\" not in source or len(source) > 100_000:
        return
    written = _FORMULA.sub(lambda m: f"${m[1].strip()}$" if m[1] is not None else f"$${m[2].strip()}$$", source)
    if written != source:
        element.replace_children(text_node(tree, written))


def _exponents(tree: HTMLTree) -> None:
    """10<sup>5</sup> is not 105: exponents of numbers, variables and units (m, cm) get a caret."""
    for raised in _all(tree, "sup"):
        exponent = (raised.text_content or "").strip()
        before = raised.previous_sibling
        if before is None or not _EXPONENT.fullmatch(exponent) or raised.query_selector("a") is not None:
            continue
        if _BASE.search((before.text_content or "")[-3:]):
            raised.replace_with(text_node(tree, "^" + exponent))

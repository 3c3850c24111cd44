"""Mathematics of a page as TeX between dollar signs.

In: a parsed page. Out: the same page, changed in place: wherever its makers left the source of a formula (MathML and
annotations, MathJax's scripts, KaTeX, `data-` attributes, the `alt` of images) a text `$...$`, or `$$...$$` for
one on lines of its own, stands instead of what browsers show, so every method of extraction keeps it and none reads
it twice. MathML without a source is converted (`mathml.py`). Left out: formulas that exist only as pixels or as
positioned glyphs.
"""

import re
from collections.abc import Set
from urllib.parse import unquote

from resiliparse.parse.html import ElementNode, HTMLTree

from athanor.data.extraction.mathml import plain_tex, tex_of_math
from athanor.data.extraction.tree import text_node, walk

MARKERS = (
    "<math", "math/", "katex", "latex", "data-tex", "data-latex", "mathjax", "mjx-", "math ", '"math"', "math-",
    "ql-formula", "data-formula", "data-equation", "data-math", "data-asciimath", "arithmatex", "<sup", '"tex"',
    "mimetex", "mathtex",
)  # fmt: skip
"""A page whose tags contain none of these words has no formula that could be found."""
_MATHJAX_SHOWS = {
    "MathJax_Preview", "MathJax", "MathJax_Display", "MathJax_SVG", "MathJax_SVG_Display", "MathJax_CHTML",
    "MJXc-display",
}  # fmt: skip
_WIKIPEDIA_DISPLAY = ".mwe-math-mathml-display, .mwe-math-fallback-image-display"
_LONGEST = 10_000
"""Characters of a formula in an attribute."""
_SOURCE_ATTRIBUTES = ("data-tex", "data-latex", "data-formula", "data-equation", "data-math", "data-asciimath")
_SAYS_TEX = re.compile(r"\\[A-Za-z]+|[\^_]\{|[\^_]\w|^\$.*\$$|[=+<>]")
_LATEX_IMAGE = re.compile(r"latex\.php\?|latex\.codecogs\.com|/(?:mathtex|mimetex)\.cgi\?|[?&](?:latex|tex|eq)=")
_FORMULA = re.compile(r"\\\((.*?)\\\)|\\\[(.*?)\\\]", re.DOTALL)
_EXPONENT = re.compile(r"[-+\u2212]?(?:\d+|[nmkijxytNT])")
_BASE = re.compile(r"(?:\d|\)|(?<![^\W\d_])[^\W\d_]{1,2})$")


def restore_mathematics(tree: HTMLTree, seen: Set[str]) -> None:
    """Replace every formula in `tree` by its TeX; `seen` are those of MARKERS that its tags contain."""
    if tree.document is None:
        return
    from_scripts = "math/" in seen and tree.document.query_selector('script[type^="math/"]') is not None
    attributes = [name for name in _SOURCE_ATTRIBUTES if name in seen]

    def replaced(element: ElementNode) -> bool:
        name, classes = element.local_name, set((element.class_name or "").split())
        if name == "sup":
            return _exponent(tree, element)
        if name == "math":
            return _write(tree, element, tex_of_math(element), _attribute(element, "display") == "block")
        if name == "img":
            return _image(tree, element, classes)
        if name == "script":
            return _mathjax_script(tree, element)
        if name == "mjx-container":
            tex = _tex_inside(element) or plain_tex(_attribute(element, "aria-label"))
            return _write(tree, element, tex, _attribute(element, "display") == "true")
        if from_scripts and not classes.isdisjoint(_MATHJAX_SHOWS):
            element.remove()
            return True
        for attribute in attributes:
            source = _attribute(element, attribute)
            if source and len(source) < _LONGEST and not source.startswith("{"):  # some sites keep JSON there
                return _write(tree, element, plain_tex(source), "display" in "".join(classes))
        if not classes:
            return False
        if "katex-display" in classes or "katex" in classes:
            return _write(tree, element, _tex_inside(element), "katex-display" in classes)
        if "mwe-math-element" in classes:
            tex = _tex_inside(element) or plain_tex(_attribute(element.query_selector("img"), "alt"))
            return _write(tree, element, tex, element.query_selector(_WIKIPEDIA_DISPLAY) is not None)
        if "ql-formula" in classes:
            return _write(tree, element, plain_tex(_attribute(element, "data-value")), False)
        if "math" in classes or "arithmatex" in classes:
            return _delimited(tree, element)
        return False

    walk(tree, replaced)


def _attribute(element: ElementNode | None, name: str) -> str:
    return (element.get_attribute(name) or "") if element is not None else ""


def _tex_inside(element: ElementNode) -> str:
    math = element.query_selector("math")
    return tex_of_math(math) if math is not None else ""


def _write(tree: HTMLTree, element: ElementNode, tex: str, display: bool) -> bool:
    """Put `tex` in the place of `element`; false for an empty formula, which leaves it as it is."""
    if not tex:
        return False
    if display:
        for insert in (element.before, element.after):
            line_break = tree.create_element("br")
            assert line_break is not None
            insert(line_break)
    element.replace_with(text_node(tree, f"$${tex}$$" if display else f"${tex}$"))
    return True


def _mathjax_script(tree: HTMLTree, script: ElementNode) -> bool:
    """MathJax 2 keeps sources in scripts."""
    kind, source = _attribute(script, "type"), script.text_content or ""
    if kind.startswith("math/mml"):
        document = HTMLTree.parse(source).document
        math = document.query_selector("math") if document is not None else None
        return math is not None and _write(tree, script, tex_of_math(math), _attribute(math, "display") == "block")
    return kind.startswith("math/") and _write(tree, script, plain_tex(source), "display" in kind)


def _image(tree: HTMLTree, image: ElementNode, classes: Set[str]) -> bool:
    """Formulas drawn as images, with their source as alternative text or in the address."""
    tex = plain_tex(_attribute(image, "alt"))
    address = _attribute(image, "src") or _attribute(image, "data-src")
    drawn = _LATEX_IMAGE.search(address)
    if drawn and not _SAYS_TEX.search(tex):
        tex = _tex_of_address(address) or tex
    if not drawn and classes.isdisjoint(("math", "tex", "latex", "mwe-math-fallback-image-inline")):
        return False
    return _write(tree, image, tex, "mwe-math-fallback-image-display" in classes)


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


def _delimited(tree: HTMLTree, element: ElementNode) -> bool:
    r"""`\(...\)` and `\[...\]` as Sphinx and others leave them for a script to show, with dollar signs."""
    source = element.text_content or ""
    if element.first_element_child is not None or "\\" not in source or len(source) > 100_000:
        return False
    written = _FORMULA.sub(lambda m: f"${m[1].strip()}$" if m[1] is not None else f"$${m[2].strip()}$$", source)
    if written != source:
        element.replace_children(text_node(tree, written))
    return True


def _exponent(tree: HTMLTree, raised: ElementNode) -> bool:
    """10<sup>5</sup> is not 105: exponents of numbers, variables and units (m, cm) get a caret."""
    before = raised.previous_sibling
    exponent = (raised.text_content or "").strip()
    if before is None or not _EXPONENT.fullmatch(exponent) or raised.query_selector("a") is not None:
        return False
    if not _BASE.search((before.text_content or "")[-3:]):
        return False
    raised.replace_with(text_node(tree, "^" + exponent))
    return True

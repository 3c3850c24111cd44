"""MathML to TeX, as far as plain text needs it.

In: a `math` element. Out: TeX without the dollar signs, from the annotation a generator left beside the MathML if there
is one, else from presentation MathML itself (MathML Core, sections 3.2 to 3.5): fractions, roots, scripts, tables.
Spacing, colours and alignment are left out.
"""

import re

from resiliparse.parse.html import ElementNode, Node

from athanor.data.extraction.tree import children

_DEEPEST = 200
"""Nesting beyond which the rest is read as plain characters."""

_WRAPPED = re.compile(r"^\{\\(?:display|text|script)style\s*(.*)\}$", re.DOTALL)
_ANNOTATION = ", ".join(
    f'annotation[encoding="{name}" i]'
    for name in ("application/x-tex", "application/x-latex", "tex", "latex", "text/latex", "text/x-latex")
)
_FUNCTIONS_WRITTEN = (
    "arccos arcsin arctan arg cos cosh cot coth csc deg det dim exp gcd hom inf ker lg lim liminf limsup ln log "
    "max min Pr sec sin sinh sup tan tanh"
)
_FUNCTIONS = frozenset(_FUNCTIONS_WRITTEN.split())
_GREEK_WRITTEN = (
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho varsigma sigma "
    "tau upsilon varphi chi psi omega"
)
_GREEK = tuple(_GREEK_WRITTEN.split())
_CHARACTERS = {chr(0x3B1 + i): f"\\{name}" for i, name in enumerate(_GREEK)} | {
    "ϵ": "\\epsilon", "ϕ": "\\phi", "ϑ": "\\vartheta", "ϱ": "\\varrho", "ϖ": "\\varpi", "ο": "o",
    "Γ": "\\Gamma", "Δ": "\\Delta", "Θ": "\\Theta", "Λ": "\\Lambda", "Ξ": "\\Xi", "Π": "\\Pi", "Σ": "\\Sigma",
    "Υ": "\\Upsilon", "Φ": "\\Phi", "Ψ": "\\Psi", "Ω": "\\Omega", "∑": "\\sum", "∏": "\\prod", "∐": "\\coprod",
    "∫": "\\int", "∬": "\\iint", "∭": "\\iiint", "∮": "\\oint", "∂": "\\partial", "∇": "\\nabla", "∞": "\\infty",
    "≤": "\\leq", "≥": "\\geq", "≠": "\\neq", "≈": "\\approx", "≡": "\\equiv", "∼": "\\sim", "≃": "\\simeq",
    "≅": "\\cong", "∝": "\\propto", "±": "\\pm", "∓": "\\mp", "×": "\\times", "÷": "\\div", "⋅": "\\cdot",
    "·": "\\cdot", "∘": "\\circ", "∗": "*", "−": "-", "→": "\\to", "←": "\\leftarrow", "↔": "\\leftrightarrow",
    "⇒": "\\Rightarrow", "⇐": "\\Leftarrow", "⇔": "\\Leftrightarrow", "↦": "\\mapsto", "⟶": "\\longrightarrow",
    "∈": "\\in", "∉": "\\notin", "∋": "\\ni", "⊂": "\\subset", "⊆": "\\subseteq", "⊃": "\\supset", "⊇": "\\supseteq",
    "∪": "\\cup", "∩": "\\cap", "∖": "\\setminus", "∅": "\\emptyset", "∀": "\\forall", "∃": "\\exists",
    "¬": "\\neg", "∧": "\\wedge", "∨": "\\vee", "⊕": "\\oplus", "⊗": "\\otimes", "⊥": "\\perp", "∥": "\\parallel",
    "…": "\\dots", "⋯": "\\cdots", "⋮": "\\vdots", "⋱": "\\ddots", "⟨": "\\langle", "⟩": "\\rangle", "⌊": "\\lfloor",
    "⌋": "\\rfloor", "⌈": "\\lceil", "⌉": "\\rceil", "ℓ": "\\ell", "ℏ": "\\hbar", "′": "'", "″": "''",
    "ℝ": "\\mathbb{R}",
    "ℂ": "\\mathbb{C}", "ℕ": "\\mathbb{N}", "ℤ": "\\mathbb{Z}", "ℚ": "\\mathbb{Q}", "{": "\\{", "}": "\\}", "%": "\\%",
    "#": "\\#", "&": "\\&", "_": "\\_", "$": "\\$", "‖": "\\|", "≪": "\\ll", "≫": "\\gg", "∣": "\\mid", "⊢": "\\vdash",
}  # fmt: skip
_ACCENTS = {
    "^": "\\hat", "ˆ": "\\hat", "¯": "\\bar", "‾": "\\overline", "→": "\\vec", "⃗": "\\vec", "~": "\\tilde",
    "˜": "\\tilde",
    "˙": "\\dot", ".": "\\dot", "¨": "\\ddot", "⏞": "\\overbrace", "_": "\\underline", "⏟": "\\underbrace",
}  # fmt: skip
_WITH_ARGUMENTS = frozenset(
    {"mfrac", "mroot", "msup", "msub", "msubsup", "mover", "munder", "munderover", "mmultiscripts", "semantics"}
)
_INVISIBLE = str.maketrans(dict.fromkeys("\u2061\u2062\u2063\u2064\u200b\u2009\u200a\ufeff", ""))
_LARGE = ("\\sum", "\\prod", "\\coprod", "\\lim", "\\max", "\\min", "\\sup", "\\inf", "\\limsup", "\\liminf", "\\int")


def tex_of_math(math: ElementNode) -> str:
    """TeX of a `math` element; empty for an empty one."""
    annotation = math.query_selector(_ANNOTATION)
    if annotation is not None:
        return plain_tex(annotation.text_content or "")
    if alternative := math.get_attribute("alttext"):
        return plain_tex(alternative)
    return plain_tex(_row(math, 0))


def plain_tex(tex: str) -> str:
    """`tex` on one line where it has no line breaks of its own, without wrappers that say nothing.

    >>> plain_tex("{\\\\displaystyle x^{2}}")
    'x^{2}'
    """
    tex = " ".join(tex.split())
    if match := _WRAPPED.match(tex):
        tex = match.group(1).strip()
    for opening, closing in (("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("$", "$")):
        if len(tex) > len(opening) + len(closing) and tex.startswith(opening) and tex.endswith(closing):
            tex = tex[len(opening) : -len(closing)].strip()
    return tex.removeprefix("\\displaystyle ").strip()


def _row(node: Node, depth: int) -> str:
    """The elements in `node` one after another."""
    if depth > _DEEPEST:
        return " ".join((node.text_content or "").split())
    parts = [part for child in children(node) if (part := _tex(child, depth + 1))]
    row = ""
    for part in parts:  # a command and a letter after it need a blank between them
        row += " " + part if re.search(r"\\[A-Za-z]+$", row) and part[:1].isalpha() else part
    return row


def _grouped(tex: str) -> str:
    return tex if len(tex) == 1 else "{" + tex + "}"


def _base(tex: str) -> str:
    """`tex` where a script follows it."""
    single = len(tex) <= 1 or re.fullmatch(r"\\[A-Za-z]+|\d+|[A-Za-z]'*|\\(?:mathbb|mathrm|mathbf)\{\w+\}|[)\]|]", tex)
    return tex if single else "{" + tex + "}"


def _tex(node: ElementNode, depth: int) -> str:
    name = (node.local_name or "").lower()
    if name in ("mi", "mn", "mo", "mtext", "ms"):
        return _token(name, node)
    if name in (
        "mspace",
        "annotation",
        "annotation-xml",
        "mphantom",
        "none",
        "mprescripts",
        "maligngroup",
        "malignmark",
    ):
        return ""
    if name == "mtable":
        rows = [
            " & ".join(_row(cell, depth + 1) for cell in children(row) if cell.local_name == "mtd")
            for row in children(node)
        ]
        return "\\begin{matrix} " + " \\\\ ".join(rows) + " \\end{matrix}"
    if name == "mfenced":
        opening, closing = node.get_attribute("open"), node.get_attribute("close")
        inner = ",".join(_tex(child, depth + 1) for child in children(node))
        return ("(" if opening is None else opening) + inner + (")" if closing is None else closing)
    if name == "msqrt":
        return "\\sqrt{" + _row(node, depth + 1) + "}"
    if name not in _WITH_ARGUMENTS or depth > _DEEPEST:
        return _row(node, depth)
    arguments = [_tex(child, depth + 1) for child in children(node)]
    two, three = len(arguments) >= 2, len(arguments) >= 3
    if name == "mfrac" and two:
        return f"\\frac{{{arguments[0]}}}{{{arguments[1]}}}"
    if name == "mroot" and two:
        return f"\\sqrt[{arguments[1]}]{{{arguments[0]}}}"
    if name in ("msup", "msub") and two:
        return _base(arguments[0]) + ("^" if name == "msup" else "_") + _grouped(arguments[1])
    if name == "msubsup" and three:
        return f"{_base(arguments[0])}_{_grouped(arguments[1])}^{_grouped(arguments[2])}"
    if name in ("mover", "munder") and two:
        accent = _ACCENTS.get((list(children(node))[1].text_content or "").strip())
        if accent:
            return f"{accent}{{{arguments[0]}}}"
        if arguments[0] in _LARGE:
            return arguments[0] + ("^" if name == "mover" else "_") + _grouped(arguments[1])
        return f"\\{'overset' if name == 'mover' else 'underset'}{{{arguments[1]}}}{{{arguments[0]}}}"
    if name == "munderover" and three:
        return f"{_base(arguments[0])}_{_grouped(arguments[1])}^{_grouped(arguments[2])}"
    if name == "mmultiscripts" and arguments:
        return _base(arguments[0]) + "".join(
            f"{'_^'[place % 2]}{_grouped(script)}" for place, script in enumerate(arguments[1:3]) if script
        )
    if name == "semantics" and arguments:
        return arguments[0]
    return " ".join(arguments)  # fewer than there should be


def _token(name: str, node: ElementNode) -> str:
    text = " ".join((node.text_content or "").translate(_INVISIBLE).split())
    if not text:
        return ""
    if name == "mtext":
        return f"\\text{{{text}}}"
    if name == "mi" and len(text) > 1 and text.isalpha() and text.isascii():
        return f"\\{text}" if text in _FUNCTIONS else f"\\mathrm{{{text}}}"
    if name == "mo" and text in _FUNCTIONS:
        return f"\\{text}"
    tex = ""
    for character in text:
        written = _CHARACTERS.get(character, character)
        tex += " " + written if re.search(r"\\[A-Za-z]+$", tex) and written[0].isalpha() else written
    return tex

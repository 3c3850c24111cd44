"""Formulas come out as TeX, once, whatever system wrote the page and whatever method reads it."""

import pytest
from resiliparse.parse.html import HTMLTree

from athanor.data.extraction.mathml import tex_of_math
from athanor.data.html_text import Method, html_to_text

# The markup each system writes, shortened where it repeats itself.
WIKIPEDIA = (
    '<span class="mwe-math-element mwe-math-element-inline"><span class="mwe-math-mathml-inline mwe-math-mathml-a11y" '
    'style="display: none;"><math xmlns="http://www.w3.org/1998/Math/MathML" alttext="{\\displaystyle E=mc^{2}}">'
    '<semantics><mrow class="MJX-TeXAtom-ORD"><mstyle displaystyle="true" scriptlevel="0"><mi>E</mi><mo>=</mo>'
    '<mi>m</mi><msup><mi>c</mi><mrow><mn>2</mn></mrow></msup></mstyle></mrow><annotation encoding="application/x-tex">'
    '{\\displaystyle E=mc^{2}}</annotation></semantics></math></span><img src="https://wikimedia.org/api/rest_v1/media/'
    'math/render/svg/9f73d" class="mwe-math-fallback-image-inline mw-invert skin-invert" aria-hidden="true" '
    'alt="{\\displaystyle E=mc^{2}}"></span>'
)
WIKIPEDIA_BLOCK = WIKIPEDIA.replace("mathml-inline", "mathml-display").replace("image-inline", "image-display")
KATEX = (
    '<span class="katex"><span class="katex-mathml"><math xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mrow>'
    '<msup><mi>x</mi><mn>2</mn></msup></mrow><annotation encoding="application/x-tex">x^2</annotation></semantics>'
    '</math></span><span class="katex-html" aria-hidden="true"><span class="base"><span class="mord mathnormal">x'
    '</span><span class="mord mtight">2</span></span></span></span>'
)
MATHJAX_2 = (
    '<span class="MathJax_Preview" style="color: inherit;">x2</span><span class="MathJax" id="MathJax-Element-1-Frame">'
    '<nobr><span class="math"><span class="mi">x</span><span class="mn">2</span></span></nobr><span class='
    '"MJX_Assistive_MathML"><math><msup><mi>x</mi><mn>2</mn></msup></math></span></span>'
    '<script type="math/tex" id="MathJax-Element-1">x^2 < y</script>'
)
MATHJAX_3 = (
    '<mjx-container class="MathJax" jax="CHTML"><mjx-math aria-hidden="true"><mjx-mi class="mjx-i"><mjx-c '
    'class="mjx-c1D465"></mjx-c></mjx-mi></mjx-math><mjx-assistive-mml><math xmlns="http://www.w3.org/1998/Math/MathML">'
    "<msqrt><mi>x</mi></msqrt><mo>&lt;</mo><mi>y</mi></math></mjx-assistive-mml></mjx-container>"
)
LATEXML = (
    '<math id="S1.p1.m1" class="ltx_Math" alttext="\\alpha_{i}\\leq 1" display="inline"><semantics><mrow>'
    '<mi>i</mi></msub><mo>≤</mo><mn>1</mn></mrow><annotation-xml encoding="MathML-Content"><apply><leq></leq></apply>'
    '</annotation-xml><annotation encoding="application/x-tex">\\alpha_{i}\\leq 1</annotation></semantics></math>'
)
SYSTEMS = {
    "Wikipedia": (WIKIPEDIA, "$E=mc^{2}$"),
    "Wikipedia, on a line of its own": (WIKIPEDIA_BLOCK, "$$E=mc^{2}$$"),
    "KaTeX": (KATEX, "$x^2$"),
    "KaTeX, displayed": (f'<span class="katex-display">{KATEX}</span>', "$$x^2$$"),
    "MathJax 2": (MATHJAX_2, "$x^2 < y$"),
    "MathJax 2, displayed": (
        '<div class="MathJax_Display"><span class="MathJax">∫</span></div>'
        '<script type="math/tex; mode=display">\\int_0^1 x\\,dx</script>',
        "$$\\int_0^1 x\\,dx$$",
    ),
    "MathJax 2 from MathML": ('<script type="math/mml"><math><mi>a</mi><mo>+</mo><mi>b</mi></math></script>', "$a+b$"),
    "MathJax 3": (MATHJAX_3, "$\\sqrt{x}<y$"),
    "MathJax 3, displayed": (MATHJAX_3.replace('jax="CHTML"', 'jax="CHTML" display="true"'), "$$\\sqrt{x}<y$$"),
    "StackExchange": ('<span class="math-container">$x^2 + y^2$</span>', "$x^2 + y^2$"),
    "Sphinx": ('<span class="math notranslate nohighlight">\\(a^2\\)</span>', "$a^2$"),
    "Sphinx, images": ('<img class="math" src="_images/math/8aae.png" alt="e^{i\\pi}"/>', "$e^{i\\pi}$"),
    "pandoc": ('<span class="math inline">\\(a^2\\)</span>', "$a^2$"),
    "arXiv": (LATEXML, "$\\alpha_{i}\\leq 1$"),
    "WordPress": (
        '<img src="https://s0.wp.com/latex.php?latex=%5Czeta%28s%29&#038;bg=ffffff" alt="&#92;zeta(s)" class="latex">',
        "$\\zeta(s)$",
    ),
    "codecogs": ('<img src="https://latex.codecogs.com/gif.latex?x%5E2" alt="equation">', "$x^2$"),
    "Zhihu": ('<span class="ztext-math" data-tex="x_1">x1</span>', "$x_1$"),
    "Quill": ('<span class="ql-formula" data-value="e=mc^2">junk</span>', "$e=mc^2$"),
    "MathML alone": ("<math><mfrac><mn>1</mn><mi>n</mi></mfrac></math>", "$\\frac{1}{n}$"),
}
AROUND = "This sentence stands before the formula, long enough for an article, as people write: {} and one after it."


@pytest.mark.parametrize("method", ["native", "fast", "precise"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_formulas_of_every_system_come_out_once(method: Method, system: str) -> None:
    if method == "precise":
        pytest.importorskip("trafilatura")
    markup, tex = SYSTEMS[system]
    paragraph = f"<p>{AROUND.format('nothing')}</p>"
    page = f"<body><article>{paragraph}<p>{AROUND.format(markup)}</p>{paragraph}</article></body>"
    text = " ".join(html_to_text(page, method).text.split())
    assert AROUND.format(tex) in text


@pytest.mark.parametrize(
    ("mathml", "tex"),
    [
        ("<msub><mi>x</mi><mi>i</mi></msub><mo>+</mo><msup><mi>y</mi><mn>10</mn></msup>", "x_i+y^{10}"),
        ("<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>0</mn></mrow><mi>n</mi></munderover>", "\\sum_{i=0}^n"),
        ("<mroot><mi>x</mi><mn>3</mn></mroot>", "\\sqrt[3]{x}"),
        ("<mi>sin</mi><mo>&#x2061;</mo><mi>θ</mi>", "\\sin\\theta"),
        ("<mover><mi>x</mi><mo>^</mo></mover>", "\\hat{x}"),
        ("<msup><mrow><mo>(</mo><mi>a</mi><mo>)</mo></mrow><mn>2</mn></msup>", "{(a)}^2"),
        ("<mfenced><mi>a</mi><mi>b</mi></mfenced>", "(a,b)"),
        (
            "<mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>0</mn></mtd></mtr><mtr><mtd><mn>0</mn></mtd><mtd><mn>1</mn></mtd></mtr>"
            "</mtable>",
            "\\begin{matrix} 1 & 0 \\\\ 0 & 1 \\end{matrix}",
        ),
        ("<mi>α</mi><mi>x</mi><mtext> if </mtext><mi>x</mi>", "\\alpha x\\text{if}x"),
        ("<mi>speed</mi>", "\\mathrm{speed}"),
        ("", ""),
    ],
)  # fmt: skip
def test_mathml_without_a_source_becomes_tex(mathml: str, tex: str) -> None:
    tree = HTMLTree.parse(f"<math>{mathml}</math>")
    assert tree.document is not None
    math = tree.document.query_selector("math")
    assert math is not None and tex_of_math(math) == tex


def test_exponents_are_not_digits_of_the_number_before_them() -> None:
    html = (
        "<p>10<sup>5</sup> m<sup>2</sup> and (a+b)<sup>n</sup>, but the 2<sup>nd</sup>, CO<sub>2</sub> and a "
        'claim<sup><a href="#cite">1</a></sup> with a note<sup>3</sup>.</p>'
    )
    assert html_to_text(html, "native").text == "10^5 m^2 and (a+b)^n, but the 2nd, CO2 and a claim1 with a note3."


def test_a_thousand_nested_rows_are_read_without_exhausting_the_stack() -> None:
    html = "<p>x</p><math>" + "<mrow>" * 5000 + "<mi>y</mi>" + "</mrow>" * 5000 + "</math>"
    assert "$y$" in html_to_text(html, "native").text


def test_displayed_formulas_stand_on_lines_of_their_own() -> None:
    html = f"<p>Let it be so.</p><p>Then {WIKIPEDIA_BLOCK} holds.</p>"
    assert html_to_text(html, "native").text == "Let it be so.\n\nThen\n$$E=mc^{2}$$\nholds."

"""Text from HTML: this package's method beside resiliparse and trafilatura, their quality and their time.

    python benchmarks/extraction.py [--quick] [--json FILE]

Pages: the 78 news pages with marked bodies in the folder that ATHANOR_FIDELITY names, and pages of documentation
found on this machine (/usr/share/doc, the Python installation). Quality is F1 in shingles of four words on the
marked pages, and says nothing of the others. `precise` needs the extra of that name.
"""

import gzip
import json
import os
import re
import sysconfig
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import trafilatura
from resiliparse.extract.html2text import extract_plain_text
from side_by_side import OURS, arguments, compare, report

from athanor.data.html_text import html_to_text

FIDELITY = Path(os.environ.get("ATHANOR_FIDELITY", "../shared/fidelity"))
DOCUMENTATION = [Path("/usr/share/doc"), Path(sysconfig.get_paths()["purelib"])]


def marked_pages() -> list[dict[str, str]]:
    """Pages with `html` and `article_body`; none without the reference data."""
    path = FIDELITY / "data" / "aeb_pages_dev.jsonl.gz"
    if not path.exists():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def documentation_pages(most: int) -> list[str]:
    """Pages of this machine."""
    files = [path for folder in DOCUMENTATION for path in sorted(folder.rglob("*.html")) if path.is_file()]
    return [path.read_text(encoding="utf-8", errors="replace") for path in files[:: max(1, len(files) // most)][:most]]


def f1(extract: Callable[[str], str], pages: list[dict[str, str]]) -> float:
    """F1 of mean precision and mean recall in runs of four words."""

    def shingles(text: str) -> Counter[tuple[str, ...]]:
        words = re.findall(r"\w+", text)
        return Counter(tuple(words[i : i + 4]) for i in range(max(1, len(words) - 3)))

    precision = recall = 0.0
    for page in pages:
        found, marked = shingles(extract(page["html"])), shingles(page["article_body"])
        common = (found & marked).total()
        precision += common / found.total() / len(pages)
        recall += common / marked.total() / len(pages)
    return 2 * precision * recall / (precision + recall)


def resiliparse_alone(html: str) -> str:
    return extract_plain_text(html, preserve_formatting=True, main_content=True, alt_texts=False, comments=False)


def as_datatrove(html: str) -> str:
    """The call of datatrove 0.10's Trafilatura step, without its process."""
    return trafilatura.extract(html, favor_precision=True, include_comments=False, deduplicate=True) or ""


def main() -> None:
    chosen = arguments(__doc__)
    marked = marked_pages()
    contenders: dict[str, Callable[[str], str]] = {
        OURS: lambda html: html_to_text(html, "native").text,
        "athanor, fast": lambda html: html_to_text(html, "fast").text,
        "athanor, precise": lambda html: html_to_text(html, "precise").text,
        "resiliparse": resiliparse_alone,
        "trafilatura as datatrove": as_datatrove,
    }
    rows = []
    for name, pages in {
        "marked news": [page["html"] for page in marked],
        "documentation": documentation_pages(20 if chosen.quick else 100),
    }.items():
        if not pages:
            continue
        note = f"{len(pages)} pages, {sum(map(len, pages)) / 1e6:.1f} M characters"
        runs = [(who, lambda run=run, pages=pages: [run(html) for html in pages]) for who, run in contenders.items()]
        rows += compare(name, runs, 2 if chosen.quick else 5, note)
    for who, run in contenders.items() if marked else ():
        print(f"F1 on {len(marked)} marked pages: {who:<26} {f1(run, marked):.3f}")
    report(rows, ["athanor", "resiliparse", "trafilatura", "numba"], chosen.json)


if __name__ == "__main__":
    main()

"""Write the table of Unicode classes that pre-tokenization uses: `src/athanor/tokenizer/unicode_classes.json`.

    python scripts/unicode_classes.py            # write the table anew
    python scripts/unicode_classes.py --check    # exit status 1 where the stored one differs

The table is frozen, because a vocabulary trained under one Unicode version must split text the same way for
ever, and Python, the `regex` package and the tokenizer libraries each carry another version. It is asked
from the engine inside tiktoken (Rust tables, Unicode 16.0) and compared with the one inside Hugging Face
tokenizers (Oniguruma); both must agree, and with Python's own `unicodedata` on what that already knew.
Needs the packages of the `test` extra.
"""

import argparse
import json
import sys
import unicodedata
from pathlib import Path

import tiktoken
from tokenizers import Regex, pre_tokenizers

UNICODE_VERSION = "16.0.0"
LETTERS_IN_VERSION = 141_028  # code points of category L in Unicode 16.0.0: tells that version from its neighbours
CLASSES = {"letter": r"\p{L}", "number": r"\p{N}", "space": r"\s"}
TABLE = Path(__file__).resolve().parent.parent / "src/athanor/tokenizer/unicode_classes.json"
CODE_POINTS = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]


def matched_by_tiktoken(pattern: str) -> set[int]:
    """The code points that tiktoken's engine matches: those that survive a split which drops the rest."""
    single_bytes = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding("classes", pat_str=pattern, mergeable_ranks=single_bytes, special_tokens={})
    return {point for point in CODE_POINTS if encoding.encode_ordinary(chr(point))}


def matched_by_tokenizers(pattern: str) -> set[int]:
    """The code points that the engine of Hugging Face tokenizers matches: those that a split removes."""
    removing = pre_tokenizers.Split(Regex(pattern), "removed")
    return {point for point in CODE_POINTS if not removing.pre_tokenize_str(chr(point))}


def ranges(points: set[int]) -> list[list[int]]:
    """Runs of neighbouring code points, first and last included."""
    runs: list[list[int]] = []
    for point in sorted(points):
        if runs and point == runs[-1][1] + 1:
            runs[-1][1] = point
        else:
            runs.append([point, point])
    return runs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the stored table instead of writing it")
    arguments = parser.parse_args()

    found = {name: matched_by_tiktoken(pattern) for name, pattern in CLASSES.items()}
    if len(found["letter"]) != LETTERS_IN_VERSION:
        sys.exit(f"this tiktoken knows {len(found['letter'])} letters, not those of Unicode {UNICODE_VERSION}")
    for name, pattern in CLASSES.items():
        if differing := found[name] ^ matched_by_tokenizers(pattern):
            sys.exit(f"tiktoken and tokenizers differ on {pattern} for {len(differing)} code points")
    for name, category in (("letter", "L"), ("number", "N")):
        known = {point for point in CODE_POINTS if unicodedata.category(chr(point))[0] == category}
        if unicodedata.unidata_version <= UNICODE_VERSION and not known <= found[name]:
            sys.exit(f"Python's unicodedata has a {name} that the table lacks")

    rows = [f'  "unicode": "{UNICODE_VERSION}"']
    rows += [f'  "{name}": {json.dumps(ranges(points), separators=(",", ":"))}' for name, points in found.items()]
    text = "{\n" + ",\n".join(rows) + "\n}\n"
    if arguments.check:
        return 0 if TABLE.read_text(encoding="ascii") == text else 1
    TABLE.write_text(text, encoding="ascii")
    print(f"{TABLE}: {len(text)} bytes, Unicode {UNICODE_VERSION}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

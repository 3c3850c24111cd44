"""What each character is to the rules: a blank, a letter, a mark, the end of a sentence.

A table of bits, one entry per code point, made once per process from Python's Unicode tables. Kernels look
characters up in it and never call back into Python.
"""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.uint16]

BLANK, LINE_BREAK, LETTER, DIGIT, UPPER, SYMBOL, PUNCTUATION, ALONE = (1 << bit for bit in range(8))
SENTENCE_END, FRONT, BACK, QUOTE, ICON, EXTENDS, CURRENCY, BEFORE_FULL_STOP = (1 << bit for bit in range(8, 16))
"""SYMBOL: punctuation, sign or control character. ALONE: a letter of a script without spaces, a word of its own.
FRONT, BACK: marks that come off the front and the back of a run. EXTENDS: belongs to the character before."""

NUM_CODE_POINTS = 0x110000
LAST_LISTED = 0x20000  # planes beyond hold rare ideographs and marks, which come in whole blocks
# Scripts written without spaces between words: first and last code point.
SCRIPTS_WITHOUT_SPACES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # ideographs
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
)

# Characters with the Unicode property Sentence_Terminal.
SENTENCE_ENDS = frozenset(
    "!.?։؝؞؟۔܀܁܂߹࠷࠹࠽࠾।॥၊။።፧፨᙮᜵᜶។៕᠃᠉᥄᥅᪨᪩᪪᪫᭎᭏᭚᭛᭞᭟᭽᭾᭿᰻᰼᱾᱿․‼‽⁇⁈⁉⳹⳺⳻⸮⸼⹓⹔⹠⹡。꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫︒︕︖﹒﹖﹗！．？｡"
    "𐩖𐩗𐽕𐽖𐽗𐽘𐽙𐾆𐾇𐾈𐾉𑁇𑁈𑂾𑂿𑃀𑃁𑅁𑅂𑅃𑇅𑇆𑇍𑇞𑇟𑈸𑈹𑈻𑈼𑊩𑏔𑏕𑑋𑑌𑗂𑗃𑗉𑗊𑗋𑗌𑗍𑗎𑗏𑗐𑗑𑗒𑗓𑗔𑗕𑗖𑗗𑙁𑙂𑜼𑜽𑜾𑥄𑥆𑩂𑩃𑪛𑪜𑱁𑱂𑻷𑻸𑽃𑽄𖩮𖩯𖫵𖬷𖬸𖭄𖵮𖵯𖺘𛲟𝪈"
)
QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧"
MARKS = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪" + QUOTES
DASHES = "—–"


@cache
def classes() -> Table:
    """The bits of each code point."""
    table = np.zeros(NUM_CODE_POINTS, np.uint16)
    for point in range(LAST_LISTED):
        table[point] = _bits(chr(point))
    for character in SENTENCE_ENDS:
        table[ord(character)] |= SENTENCE_END
    for first, last in SCRIPTS_WITHOUT_SPACES:
        block = table[first : last + 1]
        block[(block & LETTER) != 0] |= ALONE
    table[LAST_LISTED:0x40000] = LETTER | ALONE
    table[0x40000:] = SYMBOL  # not given out, or private
    table[0xE0100:0xE01F0] = EXTENDS
    for characters, bits in (
        (MARKS, FRONT | BACK | BEFORE_FULL_STOP),
        (DASHES, FRONT | BACK),
        ("§%=", FRONT),
        ("%²-+", BEFORE_FULL_STOP),
        (QUOTES, QUOTE),
    ):
        for character in characters:
            table[ord(character)] |= bits
    return table


def _bits(character: str) -> int:
    category = unicodedata.category(character)
    bits = 0
    if character.isspace():
        bits |= BLANK
        bits |= LINE_BREAK if len(f"a{character}b".splitlines()) == 2 else 0
    if category[0] == "L":
        bits |= LETTER
        bits |= UPPER if character.isupper() or category == "Lt" else 0
    elif category[0] == "M":
        bits |= EXTENDS
    elif category == "Nd":
        bits |= DIGIT
    elif category[0] in "PSC":
        bits |= SYMBOL
        bits |= PUNCTUATION if category[0] == "P" else 0
        bits |= ICON if category == "So" and character > "\x7f" else 0
        bits |= CURRENCY | FRONT if category == "Sc" else 0
    return bits

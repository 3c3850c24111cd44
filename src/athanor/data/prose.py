"""How much of a text is prose: sentences that begin, say something and end.

In: a text. Out: the share of its characters that stand in full sentences. Lists of names, menus, tables,
signatures and code have few of them; articles and explanations consist of them. This is the simplest idea
of good text that needs no list of good pages; a quality classifier learns from its clearest cases.
"""

import re

PARAGRAPH = re.compile(r"\n[^\w\n]*\n")  # a blank line, or one of signs alone
SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’»)\]]*\s+|(?<=[。！？])\s*")
LETTER = re.compile(r"[^\W\d_]|\s")
OPENING = "\"'“‘«([¿¡"
CLOSING = "\"'”’»)]"
ENDS = ".!?…。！？"
SHORTEST, LONGEST = 25, 600  # characters of a sentence in scripts with spaces; half for those without
LETTERS = 0.75  # share of a sentence that is letters and spaces; less is code, numbers or a table


def prose_share(text: str) -> float:
    """The share of the characters of `text`, white space left out, that stand in full sentences."""
    characters = _num_characters(text)
    if not characters:
        return 0.0
    sentences = (
        part for paragraph in PARAGRAPH.split(text) for part in SENTENCE_END.split(" ".join(paragraph.split()))
    )
    return sum(_num_characters(sentence) for sentence in sentences if is_sentence(sentence)) / characters


def is_sentence(text: str) -> bool:
    """Whether `text`, one line, reads like a full sentence.

    >>> is_sentence("The furnace keeps one even heat.")
    True
    >>> is_sentence("home | products | about us | contact")
    False
    """
    bare = text.strip().lstrip(OPENING)
    if not bare or not bare[0].isalpha() or bare[0].islower() or bare.rstrip(CLOSING)[-1:] not in ENDS:
        return False
    shortest = SHORTEST if " " in bare else SHORTEST // 2
    return shortest <= len(bare) <= LONGEST and len(LETTER.findall(bare)) >= LETTERS * len(bare)


def _num_characters(text: str) -> int:
    return sum(map(len, text.split()))

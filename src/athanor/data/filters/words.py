"""The one word split and sentence count that all rules share.

In: a text. Out: its words, punctuation marks being words of their own. Decisions that others publish for
these rules were made with spaCy's English tokenizer, so this split follows its rules and character classes
(MIT licence): marks come off both ends, contractions part ("do", "n't"), addresses and abbreviations stay whole,
hyphens between letters divide. Each different run of non-blank characters is divided once and remembered,
which makes the split cheap on running text.
Left out: languages written without spaces (a run of Chinese counts as one word).
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain

LONGEST_DIVIDED = 1000
"""A run of more characters than this is not language (data, keys) and counts as one word."""

# Characters with the Unicode property Sentence_Terminal.
SENTENCE_END = frozenset(
    "!.?։؝؞؟۔܀܁܂߹࠷࠹࠽࠾।॥၊။።፧፨᙮᜵᜶។៕᠃᠉᥄᥅᪨᪩᪪᪫᭎᭏᭚᭛᭞᭟᭽᭾᭿᰻᰼᱾᱿․‼‽⁇⁈⁉⳹⳺⳻⸮⸼⹓⹔⹠⹡。꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫︒︕︖﹒﹖﹗！．？｡"
    "𐩖𐩗𐽕𐽖𐽗𐽘𐽙𐾆𐾇𐾈𐾉𑁇𑁈𑂾𑂿𑃀𑃁𑅁𑅂𑅃𑇅𑇆𑇍𑇞𑇟𑈸𑈹𑈻𑈼𑊩𑏔𑏕𑑋𑑌𑗂𑗃𑗉𑗊𑗋𑗌𑗍𑗎𑗏𑗐𑗑𑗒𑗓𑗔𑗕𑗖𑗗𑙁𑙂𑜼𑜽𑜾𑥄𑥆𑩂𑩃𑪛𑪜𑱁𑱂𑻷𑻸𑽃𑽄𖩮𖩯𖫵𖬷𖬸𖭄𖵮𖵯𖺘𛲟𝪈"
)

QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧"
MARKS = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪" + QUOTES
CURRENCY = "$£€¥฿₽﷼₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₴₵₶₷₸₹₺₻₼₾₿"

_FRONT = frozenset(MARKS + CURRENCY + "§%=—–")
_BACK = frozenset(MARKS + "—–")
_BEFORE_FULL_STOP = frozenset(MARKS + "%²-+")
_UNIT = re.compile(
    r"(?<=[0-9])(?:[kcdµm]?m[²³]?|ha|nm|yd|in|ft|[kmµ]?g|t|lb|oz|m/s|km/h|kmh|mph|h?Pa|mbar"
    r"|[mkgt]b|[MKGT]B|T|G|M|K|%|[кдсм]?м[²³]?|нм|к?г|мг|[кКмМгГтТ][бБ])$"
)
_LETTER = r"[^\W\d_]"
_INNER = re.compile(
    rf"\.\.+|…|(?<=[0-9])[+\-*^](?=[0-9-])|(?<={_LETTER}),(?={_LETTER})"
    rf"|(?<=[^\W_])(?:---|--|——|-|–|—|~)(?={_LETTER})|(?<=[^\W_])[:<>=/](?={_LETTER})"
    rf"|(?<=[{re.escape(QUOTES)}]|{_LETTER})\.(?=[{re.escape(QUOTES)}]|{_LETTER})"
    r"|[¦©®°℀-℈℔№℗℞-℧↕-⇿⌀-⏿①-⓿─-➿⠀-⣿⬀-⯿\U0001f000-\U0001faff]"
)
_ADDRESS = re.compile(
    r"(?:[\w+.\-]{2,}://)?(?:[^\s@]+@)?"
    r"(?:(?:[A-Za-z0-9¡-\uffff](?:[A-Za-z0-9¡-\uffff_-]{0,62}[A-Za-z0-9¡-\uffff])?\.)+[^\W\dA-Z_]{2,63}"
    r"|[1-9]\d{0,2}(?:\.\d{1,3}){3})(?::\d{2,5})?(?:[/?#]\S*)?"
)


def _whole_and_parted() -> dict[str, tuple[str, ...]]:
    """Runs whose division no rule gives: abbreviations that keep their dot, and contractions."""
    abbreviations = (
        "'d 's ’s and/or a.m. p.m. e.g. i.e. E.g. I.e. E.G. I.E. vs. v.s. Adm. Bros. co. Co. Corp. D.C. Dr."
        " Gen. Gov. Inc. Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. Ph.D. Prof. Rep. Rev. Sen. St. Jan. Feb."
        " Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct. Nov. Dec. Ala. Ariz. Ark. Calif. Colo. Conn. Del. Fla. Ga."
        " Ia. Id. Ill. Ind. Kan. Kans. Ky. La. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb."
        " Nebr. Nev. Okla. Ore. Pa. S.C. Tenn. Va. Wash. Wis."
    )
    table: dict[str, tuple[str, ...]] = {run: (run,) for run in abbreviations.split()}
    endings = {
        "i": "'m 'll 'd 've",
        "you we they": "'ll 'd 've 're",
        "he she it who what when where why how there that": "'ll 'd 's",
        "who what when where why how": "'re 've",
        "could might must should would": "'ve n't",
        "ai are ca can did do does had has have is may need ought sha was were will wo": "n't",
        "let": "'s",
    }
    for stems, tails in endings.items():
        for stem in stems.split():
            for start in (stem, stem.capitalize()):
                for tail in tails.split():
                    table[start + tail] = (start, tail)
                    curly = tail.replace("'", "’")
                    table[start + curly] = (start, curly)
    for first, second in (("can", "not"), ("gon", "na"), ("got", "ta")):
        table[first + second] = (first, second)
        table[first.capitalize() + second] = (first.capitalize(), second)
    return table


_KNOWN = _whole_and_parted()


_INITIALS = frozenset("abcdefghijklmnopqrstuvwxyzäöüABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÜ")


def split_words(text: str) -> list[str]:
    """The words of `text`, in order.

    >>> split_words("Mr. Smith didn't pay $5 (see example.com/a-b).")
    ['Mr.', 'Smith', 'did', "n't", 'pay', '$', '5', '(', 'see', 'example.com/a-b', ')', '.']
    """
    return list(chain.from_iterable(map(_divided, text.split())))


def count_sentences(text: str) -> int:
    """The number of sentences: one more begins at each word after a full stop, `?`, `!` or their like.

    >>> count_sentences('He said "Stop!" and left. Mr. Smith stayed.')
    3
    """
    sentences, ended = 0, True
    for word in split_words(text):
        if word in SENTENCE_END:
            ended = True
            sentences = max(sentences, 1)
        elif ended and not (sentences and _is_punctuation(word)):
            ended = False
            sentences += 1
    return sentences


@lru_cache(maxsize=1 << 17)
def is_mark(word: str) -> bool:
    """Whether every character of `word` is punctuation, a symbol or a control character."""
    return all(unicodedata.category(character)[0] in "PSC" for character in word)


def _is_punctuation(word: str) -> bool:
    return all(unicodedata.category(character)[0] == "P" for character in word)


@lru_cache(maxsize=1 << 17)
def _divided(run: str) -> tuple[str, ...]:
    """The words in one run of characters without blanks."""
    if run.isalpha() and run not in _KNOWN:
        return (run,)
    if len(run) > LONGEST_DIVIDED:
        return (run,)
    front: list[str] = []
    back: list[str] = []
    while run and not _is_known(run):
        start = _front_length(run)
        if start and _is_known(run[start:]):
            front.append(run[:start])
            run = run[start:]
            break
        end = _back_length(run[start:]) if start < len(run) else 0
        if not start and not end:
            break
        if end and _is_known(run[: len(run) - end]):
            back.append(run[len(run) - end :])
            run = run[: len(run) - end]
            break
        if start:
            front.append(run[:start])
        if end:
            back.append(run[len(run) - end :])
        run = run[start : len(run) - end]
    return (*front, *_middle(run), *reversed(back))


def _is_known(run: str) -> bool:
    return run in _KNOWN or (len(run) == 2 and run[1] == "." and run[0] in _INITIALS)


def _front_length(run: str) -> int:
    first = run[0]
    if run.startswith(".."):
        return len(run) - len(run.lstrip("."))
    if run[:3] in ("US$",) or run[:2] in ("C$", "A$"):
        return run.index("$") + 1
    if first in _FRONT or (first == "+" and not run[1:2].isdigit()) or _is_icon(first):
        return 1
    return 0


def _back_length(run: str) -> int:
    last, before = run[-1], run[-2:-1]
    if run.endswith(".."):
        return len(run) - len(run.rstrip("."))
    if run[-2:] in ("'s", "'S", "’s", "’S"):
        return 2
    if last in _BACK or _is_icon(last):
        return 1
    if before:
        if last == "." and (_is_lower(before) or before in _BEFORE_FULL_STOP or before in "0123456789"):
            return 1
        if last == "." and len(run) > 2 and _is_upper(before) and _is_upper(run[-3]):
            return 1
        if before in "0123456789" and (last == "+" or last in CURRENCY):
            return 1
        unit = _UNIT.search(run, max(0, len(run) - 6))
        return len(unit.group()) if unit else 0
    return 0


def _middle(run: str) -> Iterator[str]:
    """What is left of a run without its outer marks: a known word, an address, or parts between inner marks."""
    if run in _KNOWN:
        yield from _KNOWN[run]
        return
    if not run or run.isalnum() or _is_known(run) or _ADDRESS.fullmatch(run):
        if run:
            yield run
        return
    start = 0
    for mark in _INNER.finditer(run):
        at = mark.start()
        if mark.group() == "." and not _divides(run[at - 1], run[at + 1]):
            continue
        if at == 0:
            continue
        if at > start:
            yield run[start:at]
        yield mark.group()
        start = mark.end()
    if start < len(run):
        yield run[start:]


def _divides(before: str, after: str) -> bool:
    """Whether a full stop between these two ends a sentence whose blank is missing ("end.Begin")."""
    return (not before.isupper()) and (not after.islower())


def _is_lower(character: str) -> bool:
    return character.isalpha() and not character.isupper()


def _is_upper(character: str) -> bool:
    return character.isalpha() and not character.islower()


def _is_icon(character: str) -> bool:
    return character > "\x7f" and unicodedata.category(character) == "So"

"""Every decision of datatrove's FineWeb chain on one text, for comparing.

In: a text and its address. Out: what each rule says on the text alone, what the chain as a whole does, and the
signature of what survives. The chain is that of FineWeb's published example without extraction and language: address,
Gopher repetition, Gopher quality, C4 without its terminal-mark rule, FineWeb. As a filter: `athanor data filter
--compat datatrove`.
"""

from dataclasses import dataclass
from functools import cache

from athanor.data.compat import addresses, c4, fineweb, gopher, signature
from athanor.data.compat.personal_data import Masker
from athanor.data.compat.spacy_words import split_words
from athanor.data.dedup.config import MinHash
from athanor.data.dedup.minhash import hash_functions
from athanor.data.dedup.minhash import signature as minhash
from athanor.data.filters.c4 import C4, Cleaned
from athanor.data.filters.fineweb import FineWeb
from athanor.data.filters.gopher_quality import GopherQuality
from athanor.data.filters.gopher_repetition import GopherRepetition
from athanor.data.filters.verdict import Verdict
from athanor.data.url import UrlRule

FINEWEB_C4 = C4(terminal_mark=False)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What datatrove's rules decide; a reason is one of its own names, for instance `gopher_short_doc`."""

    url_filter: Verdict
    gopher_repetition: Verdict
    gopher_quality: Verdict
    c4: Cleaned
    """With C4's defaults: verdict and text, which is the text as it came where the verdict is not to keep."""
    c4_fineweb: Cleaned
    """With FineWeb's setting, which keeps lines without a terminal mark."""
    fineweb: Verdict
    masked: str
    """The text with personal data masked, replacements beginning with the masker's next."""
    first_drop: tuple[str, str] | None
    """The first rule of the chain that removes the document, and its reason; None where it survives."""
    minhash: list[list[int]] | None
    """The signature of the chain's text, a list per band; None where it is removed or has no shingle."""


def decide(text: str, url: str, lists_folder: str | None = None, masker: Masker | None = None) -> Decisions:
    """All decisions on `text` found at `url`.

    The lists of addresses come from an installed datatrove or from `lists_folder`. datatrove's replacements of
    personal data go on from text to text: give one `masker` for all to have that, none to begin anew each time.
    Raises ValueError where spaCy, tldextract or the lists are missing.
    """
    url_filter = addresses.judge(url, _lists(lists_folder))
    repetition = gopher.judge_repetition(text, split_words, GopherRepetition())
    quality = gopher.judge_quality(text, split_words, GopherQuality())
    cleaned = c4.clean(text, FINEWEB_C4)
    in_chain = fineweb.judge(cleaned.text, split_words, FineWeb())
    chain = {
        "url_filter": url_filter,
        "gopher_repetition": repetition,
        "gopher_quality": quality,
        "c4_fineweb": cleaned.verdict,
        "fineweb": in_chain,
    }
    first_drop = next(((name, verdict.reason) for name, verdict in chain.items() if not verdict.kept), None)
    return Decisions(
        url_filter=url_filter,
        gopher_repetition=repetition,
        gopher_quality=quality,
        c4=c4.clean(text, C4()),
        c4_fineweb=cleaned,
        fineweb=fineweb.judge(text, split_words, FineWeb()),
        masked=(masker or Masker()).mask(text),
        first_drop=first_drop,
        minhash=None if first_drop else bands(cleaned.text),
    )


def bands(text: str, config: MinHash | None = None) -> list[list[int]] | None:
    """The MinHash signature of `text`, a list of `rows` numbers for each band; None without a shingle."""
    config = config or MinHash()
    shingles = signature.shingle_hashes(text, config.shingle_words)
    if not len(shingles):
        return None
    rows: list[list[int]] = minhash(shingles, hash_functions(config)).reshape(config.bands, -1).tolist()
    return rows


@cache
def _lists(folder: str | None) -> addresses.Lists:
    return addresses.lists_of(UrlRule(), folder)

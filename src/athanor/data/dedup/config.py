"""What counts as a duplicate."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class MinHash:
    """Which pairs of documents count as near copies."""

    bands: int = 14
    """Bands of the signature; more bands find less similar pairs."""
    rows: int = 8
    """Hashes in a band, all of which must agree; more rows find only more similar pairs."""
    shingle_words: int = 5
    """Consecutive words that make one shingle."""
    min_similarity: float = 0.7
    """Jaccard similarity of the true shingle sets below which a pair that met in a band is kept after all;
    0 trusts the bands alone."""
    seed: int = 1
    """Chooses the hash functions; signatures of different seeds cannot be compared."""
    compat: Literal["datatrove"] | None = field(default=None, metadata={"added": None})
    """datatrove: the signatures of datatrove 0.10.1 with SHA-1, number by number, by its word split (spaCy's); slow,
    and an extra: pip install 'athanor[compat]'."""

    def __post_init__(self) -> None:
        if self.bands < 1 or self.rows < 1 or self.shingle_words < 1:
            raise ValueError("bands, rows and shingle_words must be at least 1")
        if not 0 <= self.min_similarity <= 1:
            raise ValueError(f"min_similarity must lie between 0 and 1, found {self.min_similarity}")


@dataclass(frozen=True)
class RepeatedLines:
    """Which lines are furniture of a site rather than text: menus, headers, footers."""

    max_documents: int = 10
    """A line found in more documents than this is repeated."""
    max_share: float = 0.0
    """The same limit as a share of all documents; the larger of the two limits holds."""
    run_words: int = 8
    """Repeated lines inside a document are dropped where an unbroken run of them has at least this many words; a
    short one alone between other lines, such as a heading, stays. At the top and bottom three words are enough."""
    gap_words: int = field(default=16, metadata={"added": 0})
    """Repeated lines with at most two lines of the page's own between them, of at most this many words, count as one
    run where they are twice as many; the lines between stay. 0 measures each unbroken run alone."""
    first_only: Literal["off", "document", "corpus"] = "off"
    """Runs that occurred before are repeated too, and only the first stays: in the same document, or in the whole
    corpus in the order of the documents (the paragraph rule of CCNet, on lines)."""
    min_words_left: int = 20
    """A document that lost lines and has fewer words left than this is removed."""

    def __post_init__(self) -> None:
        if self.max_documents < 1:
            raise ValueError("max_documents must be at least 1: every line is in one document")
        if not 0 <= self.max_share <= 1:
            raise ValueError(f"max_share must lie between 0 and 1, found {self.max_share}")


# Parameters that follow a visitor or an advertisement, or name a session, and leave the page the same.
TRACKING_PARAMETERS = (
    "utm_*", "fbclid", "gclid", "dclid", "msclkid", "yclid", "igshid", "mc_cid", "mc_eid", "_ga", "_gl", "_hs*",
    "phpsessid", "jsessionid", "aspsessionid*", "session_id", "sessionid", "sid", "s_cid", "ref_src",
)  # fmt: skip


@dataclass(frozen=True)
class SameAddress:
    """Which addresses name the same page, and which of its copies is kept."""

    drop_parameters: tuple[str, ...] = TRACKING_PARAMETERS
    """Parameters of the query to leave out of the comparison, as patterns (`utm_*`), in any case."""
    drop_session_in_path: bool = True
    """Leave out `;jsessionid=...` behind a path."""
    sort_query: bool = True
    """The order of parameters does not matter."""
    ignore_www: bool = True
    """www.example.org is example.org."""
    ignore_scheme: bool = True
    """http is https."""
    ignore_trailing_slash: bool = True
    """A slash at the end of the path does not matter."""
    keep: Literal["latest", "longest", "first"] = "latest"
    """The copy to keep: the one with the latest date (then the first), the longest text, or the first in the input."""


@dataclass(frozen=True)
class Substrings:
    """Cuts out passages that occurred before word for word, within and across documents (Lee et al. 2022)."""

    min_bytes: int = 200
    """The shortest passage to cut, in bytes of UTF-8; 200 are about 50 tokens of English, the paper's length."""
    min_words_left: int = 20
    """A document that lost a passage and has fewer words left than this is removed."""
    workers: int = field(default=1, metadata={"runtime": True})
    """Processes to use; changes the speed, never the result."""

    def __post_init__(self) -> None:
        if self.min_bytes < 8:
            raise ValueError(f"min_bytes must be at least 8, found {self.min_bytes}; shorter passages are words")


@dataclass(frozen=True)
class Dedup:
    """Removes documents with the same address, exact copies, near copies and repeated lines."""

    url: SameAddress | None = field(default=None, metadata={"added": None})
    """Of documents whose addresses name the same page, keep one; null compares no addresses."""

    exact: bool = True
    """Remove documents whose text equals another's but for white space."""
    near: MinHash | None = field(default_factory=MinHash)
    """Remove near copies found by MinHash; null leaves them."""
    lines: RepeatedLines | None = field(default_factory=RepeatedLines)
    """Drop lines that recur across documents; null leaves them."""
    keep: Literal["longest", "first", "latest"] = "longest"
    """The copy to keep: the longest text (then the shortest URL, then the lowest id), the first in the input, or the
    one with the latest date (then the first)."""
    workers: int = field(default=1, metadata={"runtime": True})
    """Processes to use; changes the speed, never the result."""

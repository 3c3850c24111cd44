"""What can be set in the first two steps of the data stage; imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Literal

from athanor.core.sources import check_addresses
from athanor.data.filters.c4 import C4
from athanor.data.filters.fineweb import FineWeb
from athanor.data.filters.gopher_quality import GopherQuality
from athanor.data.filters.gopher_repetition import GopherRepetition
from athanor.data.harmful import HarmfulRule
from athanor.data.language import LanguageRule
from athanor.data.pii import Pii
from athanor.data.url import UrlRule


@dataclass(frozen=True)
class Extract:
    """Turns recorded pages into documents."""

    paths: tuple[str, ...] = field(default=(), metadata={"sources": True, "added": ()})
    """Instead of the input `pages`: WARC, WET and HTML files, folders and patterns (*, **, {00..99}) here or at s3://,
    gs://, https://, ...; a list of files such as Common Crawl's warc.paths.gz stands for what it names."""
    html_base: str = field(default="", metadata={"added": ""})
    """The address that a folder of HTML files stands for, such as https://docs.example.org/; empty: from the files'
    own words or folders named as hosts, else file:///."""
    method: Literal["native", "fast", "precise"] = "native"
    """native: this package's own, as good on articles as precise and as quick as fast. fast: resiliparse. precise:
    trafilatura, many times slower, an extra."""
    main_content: bool = True
    """Drop what looks like navigation, headers and footers (precise always does)."""
    skip: tuple[str, ...] = ()
    """CSS selectors of elements to leave out, for sites whose boilerplate is known."""
    plain_text: bool = True
    """Take pages of type text/plain too."""
    max_body_bytes: int = 32 * 1024 * 1024
    """Larger pages are reported and left out; also bounds what a compressed page may grow to."""
    shard_bytes: int = 8 * 1024 * 1024
    """A shard of documents is closed when its text reaches this size."""
    time_limit_seconds: float | None = field(default=30.0, metadata={"runtime": True})
    """Longest time for one page; null: no limit, and a parser that crashes takes the step with it."""
    workers: int = field(default=1, metadata={"runtime": True})
    """Processes to use, each on files of its own or a stretch of a large one; changes the speed, never the result."""

    def __post_init__(self) -> None:
        check_addresses(self.paths)
        if self.time_limit_seconds is not None and self.time_limit_seconds <= 0:
            raise ValueError(f"time_limit_seconds must be above 0, or null for none; found {self.time_limit_seconds}")


@dataclass(frozen=True)
class Filter:
    """Which documents to keep, rule after rule in this order; a rule set to null is not applied.

    The defaults are those of the papers. FineWeb's own chain is this one with `c4.terminal_mark: false` and
    `fineweb: {}`.
    """

    url: UrlRule | None = field(default_factory=UrlRule)
    """Block lists of addresses."""
    language: LanguageRule | None = field(default_factory=LanguageRule)
    """Languages to keep; the language and its score are noted in the document."""
    harmful: HarmfulRule | None = field(default=None, metadata={"added": None})
    """Harmful and not-safe-for-work text, by a lexicon and a trained classifier; its scores are noted."""
    gopher_repetition: GopherRepetition | None = field(default_factory=GopherRepetition)
    """Repeated lines, paragraphs and runs of words."""
    gopher_quality: GopherQuality | None = field(default_factory=GopherQuality)
    """Length, symbols, bullets, stop words."""
    c4: C4 | None = field(default_factory=C4)
    """Boilerplate lines, braces, placeholder text; changes the text of what it keeps."""
    fineweb: FineWeb | None = None
    """Short and repeated lines, lists; follows C4 without its terminal-mark rule."""
    pii: Pii | None = field(default_factory=Pii)
    """Personal data to mask, replace or drop in what is kept."""
    compat: Literal["datatrove"] | None = field(default=None, metadata={"added": None})
    """datatrove: decide exactly as datatrove 0.10.1 does, with its word split (spaCy's), its lists of addresses and its
    names of reasons; slow, and an extra: pip install 'athanor[compat]'."""
    compat_lists: tuple[str, ...] = field(default=(), metadata={"files": True, "added": ()})
    """The folder with datatrove's lists of addresses; none: those of the datatrove that is installed."""
    workers: int = field(default=1, metadata={"runtime": True})
    """Processes to use, each on a shard of its own; changes the speed, never the result."""

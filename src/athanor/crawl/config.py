"""What can be crawled and under which rules: the configs of the `crawl` step. Importing this file is cheap."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

RUNTIME: dict[str, Any] = {"runtime": True}  # the field changes speed or politeness, never the pages


@dataclass(frozen=True)
class Site:
    """A polite crawl of one or several web sites, breadth first from the given pages."""

    urls: tuple[str, ...]
    """Pages to start from, http or https."""
    scope: Literal["host", "domain", "prefix"] = "domain"
    """Links to follow: on the same host; on it (less "www.") and its subdomains; those that begin like a first page."""
    allow: tuple[str, ...] = ()
    """Regular expressions; when given, a URL other than the first ones must match one of them."""
    deny: tuple[str, ...] = ()
    """Regular expressions; a URL that matches one is not fetched."""
    max_pages: int = 1000
    """Stop after this many stored pages."""
    max_depth: int = 10
    """Links between a first page and the deepest one."""
    max_bytes: int = 1_000_000_000
    """Stop before the stored pages exceed this many bytes (content, uncompressed)."""
    max_page_bytes: int = 5_000_000
    """A larger page is skipped; the download stops as soon as that is known."""
    content_types: tuple[str, ...] = ("text/html", "application/xhtml+xml")
    """Media types to store; anything else is skipped before its content is read."""
    max_redirects: int = 5
    """Redirects in a row."""
    sitemap: bool = True
    """Also start from the pages listed in the sites' sitemaps."""
    max_sitemaps: int = 50
    """Sitemap files to read, indexes included."""
    max_sitemap_bytes: int = 50_000_000
    """A larger sitemap, counted after decompression, is skipped."""
    obey_robots: bool = True
    """Obey robots.txt and the robots meta tag; switch off only for sites of your own."""
    user_agent: str = "athanor (language-model training crawler)"
    """Sent with each request; the first word is looked up in robots.txt. Add an address where you can be reached."""
    allow_private: bool = False
    """Fetch private, loopback and link-local addresses wherever a link leads; else only on hosts you start from."""
    retries: int = 4
    """Further attempts after a broken connection or a status 429, 500, 502, 503 or 504."""
    max_delay_seconds: float = 60.0
    """Hosts whose robots.txt asks for longer pauses are skipped, and pages that ask to be tried again only later."""
    warc_bytes: int = 1_000_000_000
    """Page content (uncompressed) per WARC file; a file is closed once it holds this much."""
    delay_seconds: float = field(default=1.0, metadata=RUNTIME)
    """Pause between two requests to one host; a longer Crawl-delay in robots.txt wins."""
    backoff_seconds: float = field(default=1.0, metadata=RUNTIME)
    """Pause before the first retry; doubled for each further one, and never shorter than the server's Retry-After."""
    timeout_seconds: float = field(default=30.0, metadata=RUNTIME)
    """Longest silence of a server."""
    page_seconds: float = field(default=120.0, metadata=RUNTIME)
    """Longest time for one page, however steadily it trickles."""
    concurrency: int = field(default=8, metadata=RUNTIME)
    """Requests at once, over all hosts."""
    concurrency_per_host: int = field(default=1, metadata=RUNTIME)
    """Requests at once to one host."""

    def __post_init__(self) -> None:
        if not self.urls:
            raise ValueError("urls: give at least one page to start from")
        for url in self.urls:
            if urlsplit(url).scheme.lower() not in ("http", "https") or not urlsplit(url).hostname:
                raise ValueError(f"urls: {url!r} is not an http or https URL such as https://example.org/")
        for pattern in (*self.allow, *self.deny):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"allow, deny: {pattern!r} is not a regular expression: {error}") from error
        if not self.user_agent.strip():
            raise ValueError("user_agent: a polite crawler says who it is")
        _check_positive(self, "max_pages", "max_bytes", "max_page_bytes", "warc_bytes", "concurrency")
        _check_positive(self, "concurrency_per_host", "timeout_seconds", "page_seconds")
        _check_not_negative(self, "max_depth", "max_redirects", "retries", "delay_seconds", "backoff_seconds")


@dataclass(frozen=True)
class CommonCrawl:
    """Files of a Common Crawl release, or of anything laid out like one."""

    crawl: str = "CC-MAIN-2025-05"
    """Name of the release, as listed on commoncrawl.org."""
    segments: int = 1
    """Files to take of those that the release's paths file lists (about 1 GB each, 80 000 in all)."""
    kind: Literal["warc", "wet"] = "warc"
    """Whole pages (warc), or the text that Common Crawl extracted from them (wet)."""
    sample: int | None = None
    """Seed of a random sample of the files; null takes the first ones. A larger sample contains the smaller."""
    base_url: str = "https://data.commoncrawl.org"
    """Where the release lies: an http(s) URL, s3://commoncrawl, or any other address that fsspec understands."""
    verify: bool = True
    """Read each finished file through once to check its compression's own checksums."""
    retries: int = field(default=10, metadata=RUNTIME)
    """Further attempts per file after one that made no headway."""
    backoff_seconds: float = field(default=1.0, metadata=RUNTIME)
    """Pause before the first retry; doubled for each further one, and never shorter than the server's Retry-After."""
    timeout_seconds: float = field(default=60.0, metadata=RUNTIME)
    """Longest silence of the server."""
    concurrency: int = field(default=2, metadata=RUNTIME)
    """Files downloaded at once."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.crawl):
            raise ValueError(f"crawl: {self.crawl!r} does not look like a release such as CC-MAIN-2025-05")
        _check_positive(self, "segments", "timeout_seconds", "concurrency")
        _check_not_negative(self, "retries", "backoff_seconds")


# Module names, with * and ?, that the documentation server neither imports nor shows.
EXCLUDED_MODULES = (
    # act when imported: open windows or a browser
    *("*.__main__", "antigravity", "this", "idlelib*", "tkinter*", "turtledemo*"),
    # warn or write caches when imported
    *("lib2to3*", "numpy.core*", "numpy.matlib"),
    # tests: side effects, and packages that are seldom installed
    *("test", "test.*", "*.test", "*.test.*", "*.tests", "*.tests.*", "*.testing", "*.testing.*", "*.conftest"),
    *("*._test*", "*.test_*", "torch.testing*"),
    # build tools and launchers
    *("numpy.distutils*", "numpy.f2py*", "torch.distributed.elastic*", "torch.distributed.launch*"),
    *("torch.distributed.run", "torch.utils.bottleneck*", "torch.utils.hipify*", "torch.utils.tensorboard*"),
    # internals: slow to import, little prose
    *("torch._*", "torch.*._*"),
    # over 95 % of their megabytes stand on other pages word for word
    *("numpy._core", "numpy._core.numeric", "numpy._core.numerictypes", "numpy.dtypes", "numpy.ma"),
    *("numpy.random.mtrand", "torch.ao*", "torch.jit.quantized", "torch.jit.supported_ops"),
    *("torch.masked.maskedtensor*", "torch.nn", "torch.nn.attention.bias", "torch.nn.intrinsic*", "torch.nn.modules"),
    *("torch.nn.parameter", "torch.nn.qat*", "torch.nn.quant*", "torch.quantization*", "torch.sparse*"),
    *("torch.utils.mkldnn",),
)


@dataclass(frozen=True)
class PythonDocs:
    """The documentation of this Python installation, served by its own pydoc and crawled like any site."""

    standard_library: bool = True
    """Serve the modules of the standard library."""
    packages: tuple[str, ...] = ("numpy", "torch")
    """Installed packages to serve with their submodules; importing them runs their code, so list only trusted ones."""
    exclude: tuple[str, ...] = EXCLUDED_MODULES
    """Module names, with * and ?, that are neither imported nor served."""
    max_pages: int = 5000
    """Stop after this many pages."""
    max_page_bytes: int = 4_000_000
    """A larger page is skipped."""
    page_seconds: float = field(default=60.0, metadata=RUNTIME)
    """Longest time to import or render one module; after it the module is skipped and the server started anew."""

    def __post_init__(self) -> None:
        if not self.standard_library and not self.packages:
            raise ValueError("packages: nothing to serve; name a package or set standard_library")
        _check_positive(self, "max_pages", "max_page_bytes", "page_seconds")


@dataclass(frozen=True)
class Crawl:
    """Raw pages as WARC files: from files already there, a site, Common Crawl, or this Python's documentation."""

    warc: tuple[str, ...] = field(default=(), metadata={"files": True})
    """WARC files already there, paths or patterns; when given, nothing is fetched."""
    site: Site | None = None
    """A web site to crawl."""
    common_crawl: CommonCrawl | None = None
    """Files of Common Crawl to download."""
    python_docs: PythonDocs | None = None
    """The documentation of this Python installation; the choice that needs no network."""

    def __post_init__(self) -> None:
        chosen = [name for name in ("site", "common_crawl", "python_docs") if getattr(self, name) is not None]
        if not self.warc and not chosen:
            raise ValueError("nothing to crawl: give one of warc, site, common_crawl, python_docs")
        if not self.warc and len(chosen) > 1:
            raise ValueError(f"one source at a time, found {' and '.join(chosen)}; make a step of each")


def _check_positive(config: object, *names: str) -> None:
    for name in names:
        if getattr(config, name) <= 0:
            raise ValueError(f"{name}: must be above 0, found {getattr(config, name)}")


def _check_not_negative(config: object, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 0:
            raise ValueError(f"{name}: must be 0 or more, found {getattr(config, name)}")

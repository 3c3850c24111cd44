"""The key under which addresses that name the same page are equal.

Beyond the one spelling of `data/url.py`: parameters that follow visitors rather than name pages are dropped, and
what servers rarely tell apart (http and https, www., a slash at the end, the order of parameters) is put aside.
Each of these can lose a page that differs, so each can be switched off.
"""

import hashlib
import re
from fnmatch import translate
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from athanor.data.dedup.config import SameAddress
from athanor.data.dedup.words import Hashes
from athanor.data.url import normalized

_SESSION_IN_PATH = re.compile(r";(?:jsessionid|phpsessid|sid)=[^/?#]*", re.IGNORECASE)


def canonical_address(url: str, address: SameAddress) -> str:
    """One address for all that name the same page under the rules of `address`; an unparsable one as it is.

    >>> canonical_address("http://www.example.org/a/?utm_source=x&b=2&a=1", SameAddress())
    'https://example.org/a?a=1&b=2'
    """
    plain = normalized(url)
    try:
        parts = urlsplit(plain)
    except ValueError:
        return plain
    if not parts.netloc:
        return plain
    scheme, host, path = parts.scheme, parts.netloc, parts.path
    if address.ignore_scheme and scheme == "http":
        scheme = "https"
    if address.ignore_www:
        host = host.removeprefix("www.")
    if address.drop_session_in_path:
        path = _SESSION_IN_PATH.sub("", path)
    if address.ignore_trailing_slash:
        path = path.rstrip("/")
    dropped = _any_of(address.drop_parameters)
    pairs = [pair for pair in parts.query.split("&") if pair and not dropped.match(pair.partition("=")[0])]
    if address.sort_query:
        pairs.sort()
    return urlunsplit((scheme, host, path, "&".join(pairs), ""))


def address_key(url: str, address: SameAddress) -> Hashes:
    """128 bits of BLAKE2b of the canonical address, as two 64-bit numbers."""
    canonical = canonical_address(url, address).encode("utf-8", "surrogatepass")
    return np.frombuffer(hashlib.blake2b(canonical, digest_size=16).digest(), "<u8").astype(np.uint64)


@lru_cache(maxsize=8)
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Matches whole names that one of the patterns describes, in any case; nothing when there are none."""
    return re.compile("|".join(translate(pattern) for pattern in patterns) or r"(?!)", re.IGNORECASE)

"""Bytes of a page to characters, the way browsers choose the encoding.

In: a body and the HTTP Content-Type. Out: text and the name of the encoding. Order of trust, after the HTML
standard: a byte order mark, the HTTP header, a `meta` element in the first 1,024 bytes, valid UTF-8, and last
a guess from the bytes. Bytes that fit no character become U+FFFD; nothing is raised.
"""

import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF16_LE, "utf-16-le"))
_PRESCAN_BYTES = 1024
_COMMENT = re.compile(rb"<!--.*?(?:-->|$)", re.DOTALL)
_META = re.compile(rb"<meta[\s/][^>]*>", re.IGNORECASE)
_CHARSET = re.compile(rb"charset\s*=\s*[\"']?\s*([^\s\"'/>;]+)", re.IGNORECASE)
_XML = re.compile(rb"^\s*<\?xml[^>]*encoding\s*=\s*[\"']([^\"']+)")
# Python's codecs that cover what browsers accept under the standard's name.
_WIDER = {"gbk": "gb18030", "gb2312": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "iso8859-11": "cp874"}
_LABELS = {"x-mac-cyrillic": "mac_cyrillic", "x-user-defined": "cp1252"}


def decoded(body: bytes, content_type: str = "") -> tuple[str, str]:
    """The text of `body` and the encoding it was read in.

    >>> decoded("naïve".encode("latin-1"), "text/html; charset=iso-8859-1")
    ('naïve', 'cp1252')
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, errors="replace"), encoding
    encoding = _from_header(content_type) or _from_markup(body[:_PRESCAN_BYTES]) or ""
    if not encoding:
        try:
            return body.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            encoding = _codec(detect_encoding(body) or "") or "cp1252"
    return body.decode(encoding, errors="replace"), encoding


def _from_header(content_type: str) -> str | None:
    match = _CHARSET.search(content_type.encode("ascii", errors="replace"))
    return _codec(match.group(1).decode("ascii", errors="replace")) if match else None


def _from_markup(start: bytes) -> str | None:
    """The encoding a page declares for itself."""
    if match := _XML.match(start):
        declared = match.group(1)
    else:
        start = _COMMENT.sub(b"", start)
        found = (_CHARSET.search(meta.group()) for meta in _META.finditer(start))
        declared = next((match.group(1) for match in found if match), b"")
    codec = _codec(declared.decode("ascii", errors="replace")) if declared else None
    # A page whose declaration could be read as ASCII is not UTF-16, whatever it says.
    return "utf-8" if codec and codec.startswith("utf-16") else codec


def _codec(label: str) -> str | None:
    """The name of Python's codec for an encoding label of the web; None for a label nobody knows."""
    label = label.strip().lower()
    name = _LABELS.get(label) or map_encoding_to_html5(label, fallback_utf8=False)
    if not name:
        return None
    try:
        return codecs.lookup(_WIDER.get(name, name)).name
    except LookupError:
        return None

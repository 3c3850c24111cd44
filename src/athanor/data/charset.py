"""Bytes of a page to characters, the way browsers choose the encoding.

In: a body and the HTTP Content-Type. Out: text and the name of the encoding. Order of trust, after the HTML
standard (13.2.3): a byte order mark, the HTTP header, a `meta` element in the first 1,024 bytes, valid UTF-8, and last
a guess from the bytes. Labels mean what the Encoding standard says (latin-1 is windows-1252, gb2312 is gb18030,
UTF-16 in a `meta` is UTF-8, HZ and ISO-2022-KR are not read at all). Bytes that fit no character become U+FFFD;
nothing is raised. Left out: the preference of browsers for the encoding of a frame's parent or of the user.
"""

import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF16_LE, "utf-16-le"))
_PRESCAN_BYTES = 1024
_COMMENT = re.compile(rb"<!--(?:>|->|.*?--!?>)", re.DOTALL)
_TAG = re.compile(rb"<(/?[A-Za-z][^\s/>]*)")
_OTHER = re.compile(rb"<[!/?][^>]*>")
_ATTRIBUTE = re.compile(rb"[\s/]*([^\s/>=][^\s/>=]*)\s*(?:=\s*(\"[^\"]*\"|'[^']*'|[^\s>\"'][^\s>]*|))?")
_CHARSET = re.compile(rb"charset\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"';]+))", re.IGNORECASE)
_XML = re.compile(rb"^<\?xml[^>]*encoding\s*=\s*[\"']([^\"']+)")
# UTF-16 without a mark is known by how `<?x` looks in it.
_XML_UTF_16 = ((b"<\0?\0x\0", "utf-16-le"), (b"\0<\0?\0x", "utf-16-be"))
# Python's codecs that cover what browsers accept under the standard's name.
_WIDER = {
    "gbk": "gb18030", "gb2312": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "iso8859-11": "cp874",
    "big5": "big5hkscs",
}  # fmt: skip
_LABELS = {"x-mac-cyrillic": "mac_cyrillic", "x-mac-ukrainian": "mac_cyrillic", "x-user-defined": "cp1252"}
REPLACEMENT = "replacement"
"""The standard's name for encodings that browsers refuse to read, since text in them can hide markup."""
_REFUSED = {
    "replacement", "hz-gb-2312", "iso-2022-cn", "iso-2022-cn-ext", "iso-2022-kr", "csiso2022kr",
}  # fmt: skip


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
    if encoding == REPLACEMENT:
        return "\ufffd" if body else "", encoding
    return body.decode(encoding, errors="c1_or_replace"), encoding


def _c1_or_replace(error: UnicodeError) -> tuple[str, int]:
    """In single-byte encodings the standard gives unused bytes below A0 to control characters, others to U+FFFD."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    byte = error.object[error.start]
    if error.encoding in _SINGLE_BYTE and 0x80 <= byte < 0xA0:
        return chr(byte), error.start + 1
    return "\ufffd", error.end


_SINGLE_BYTE = {"charmap"}  # what Python's table-driven codecs call themselves in errors
codecs.register_error("c1_or_replace", _c1_or_replace)


def _from_header(content_type: str) -> str | None:
    label = _charset(content_type.encode("ascii", errors="replace"))
    return _codec(label) if label else None


def _charset(text: bytes) -> str:
    """What follows `charset=`."""
    match = _CHARSET.search(text)
    return next(filter(None, match.groups()), b"").decode("ascii", errors="replace") if match else ""


def _from_markup(start: bytes) -> str | None:
    """The encoding a page declares for itself: the standard's prescan of the first bytes."""
    for beginning, encoding in _XML_UTF_16:
        if start.startswith(beginning):
            return encoding
    if match := _XML.match(start):
        codec = _codec(match.group(1).decode("ascii", errors="replace"))
        if codec:
            return _as_declared(codec)
    at = 0
    while (at := start.find(b"<", at)) >= 0:
        if start.startswith(b"<!--", at):
            match = _COMMENT.match(start, at)
            if not match:
                return None
            at = match.end()
        elif match := _TAG.match(start, at):
            attributes, at = _attributes(start, match.end())
            codec = _declared(attributes) if match.group(1).lower() == b"meta" else None
            if codec:
                return _as_declared(codec)
        else:
            match = _OTHER.match(start, at)
            at = match.end() if match else at + 1
    return None


def _attributes(start: bytes, at: int) -> tuple[dict[bytes, bytes], int]:
    """Attributes of the tag whose name ends at `at`, the first of each name, and where they end."""
    attributes: dict[bytes, bytes] = {}
    while match := _ATTRIBUTE.match(start, at):
        value = match.group(2) or b""
        quoted = value[:1] in (b'"', b"'")
        attributes.setdefault(match.group(1).lower(), value[1:-1] if quoted else value)
        at = match.end()
    return attributes, at


def _declared(meta: dict[bytes, bytes]) -> str | None:
    """What a `meta` element declares; `charset=` in a `content` counts only beside `http-equiv=content-type`."""
    if b"charset" in meta:
        return _codec(meta[b"charset"].decode("ascii", errors="replace"))
    if meta.get(b"http-equiv", b"").strip().lower() == b"content-type":
        return _codec(_charset(meta.get(b"content", b"")))
    return None


def _as_declared(codec: str) -> str:
    """A page whose declaration could be read as ASCII is not UTF-16, whatever it says."""
    return "utf-8" if codec.startswith("utf-16") else codec


def _codec(label: str) -> str | None:
    """The name of Python's codec for an encoding label of the web; None for a label nobody knows."""
    label = label.strip(" \t\n\f\r").lower()
    if label in _REFUSED:
        return REPLACEMENT
    name = _LABELS.get(label) or map_encoding_to_html5(label, fallback_utf8=False)
    if not name:
        return None
    try:
        return codecs.lookup(_WIDER.get(name, name)).name
    except LookupError:
        return None

"""Bytes become characters as in a browser."""

import pytest

from athanor.data.charset import decoded

CYRILLIC = "Съешь ещё этих мягких французских булок, да выпей чаю. " * 8


@pytest.mark.parametrize(
    ("body", "content_type", "text", "encoding"),
    [
        ("\ufeffé".encode(), "text/html; charset=latin-1", "é", "utf-8"),  # a mark beats the header
        ("é".encode("utf-16"), "", "é", "utf-16-le"),
        ("é".encode("latin-1"), 'text/html; charset="ISO-8859-1"', "é", "cp1252"),
        ("€".encode("cp1252"), "text/html;charset=latin1", "€", "cp1252"),  # browsers read latin-1 so
        (b'<meta charset="windows-1251">' + CYRILLIC.encode("cp1251"), "text/html", None, "cp1251"),
        (
            b'<META http-equiv=Content-Type content="text/html; charset=koi8-r">' + CYRILLIC.encode("koi8-r"),
            "text/html", None, "koi8-r",
        ),
        (b'<?xml version="1.0" encoding="iso-8859-2"?>' + "ł".encode("iso8859-2"), "", None, "iso8859-2"),
        (b"<!-- <meta charset=koi8-r> -->" + "é".encode(), "", None, "utf-8"),
        (b"<meta charset=utf-16>" + "é".encode(), "", None, "utf-8"),
        ("日本語".encode("shift_jis"), "text/html; charset=Shift_JIS", "日本語", "cp932"),
        ("龍".encode("gb18030"), "text/html; charset=gb2312", "龍", "gb18030"),
        ("é".encode(), "text/html; charset=nonsense", "é", "utf-8"),
    ],
)  # fmt: skip
def test_the_order_of_trust(body: bytes, content_type: str, text: str | None, encoding: str) -> None:
    found, name = decoded(body, content_type)
    assert name == encoding and "\ufffd" not in found
    assert text is None or found == text


def test_undeclared_bytes_are_guessed() -> None:
    assert decoded(CYRILLIC.encode("cp1251"))[0] == CYRILLIC


def test_wrong_bytes_become_replacement_characters() -> None:
    assert decoded(b"a\xff\xfeb", "text/html; charset=utf-8")[0] == "a\ufffd\ufffdb"
    assert decoded(b"")[0] == ""

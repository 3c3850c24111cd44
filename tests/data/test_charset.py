"""Bytes become characters as in a browser."""

import codecs

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


@pytest.mark.parametrize(
    ("start", "encoding"),
    [
        ("<meta charset=windows-1251>", "cp1251"),
        ("<META CHARSET = 'windows-1251' />", "cp1251"),
        ("<meta content='text/html; charset=\"koi8-r\"' http-equiv='Content-Type'>", "koi8-r"),
        ("<meta name=description content='all about charset=koi8-r'>", "utf-8"),  # no http-equiv beside it
        ("<meta http-equiv=refresh content='1; charset=koi8-r'>", "utf-8"),
        ("<a title='<meta charset=koi8-r>'>", "utf-8"),
        ("<!-- <meta charset=koi8-r> --><meta charset=iso-8859-5>", "iso8859-5"),
        ("<!--><meta charset=koi8-r>", "koi8-r"),  # a comment that ends at once
        ("<!-- never closed <meta charset=koi8-r>", "utf-8"),
        ("<meta charset=unheard-of><meta charset=koi8-r>", "koi8-r"),
        ("<?xml version='1.0' encoding='windows-1250'?>", "cp1250"),
        ("<metal charset=koi8-r>", "utf-8"),
        (" " * 1024 + "<meta charset=koi8-r>", "utf-8"),  # too late
        ("<meta charset=utf-16le>", "utf-8"),
        ("<meta charset=x-user-defined>", "cp1252"),
        ("<meta charset=iso-2022-kr>", "replacement"),
    ],
)
def test_what_a_page_declares(start: str, encoding: str) -> None:
    assert decoded(start.encode())[1] == encoding


SAMPLES = {
    "windows-1250": ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy"),
    "iso-8859-2": ("iso8859-2", "Zażółć gęślą jaźń"),
    "windows-1253": ("cp1253", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία"),
    "windows-1254": ("cp1254", "Pijamalı hasta yağız şoföre çabucak güvendi"),
    "latin5": ("cp1254", "Türkçe ğüşıöç"),
    "windows-1255": ("cp1255", "דג סקרן שט בים מאוכזב"),
    "windows-1256": ("cp1256", "نص حكيم له سر قاطع"),
    "windows-1258": ("cp1258", "Tiếng"),
    "windows-874": ("cp874", "เป็นมนุษย์สุดประเสริฐ"),
    "tis-620": ("cp874", "ภาษาไทย"),
    "koi8-u": ("koi8-u", "Щастям б'єш жук їх глицю"),
    "ibm866": ("cp866", "Съешь ещё этих мягких булок"),
    "macintosh": ("mac-roman", "Façade naïve"),
    "gbk": ("gb18030", "中文网页的内容"),
    "gb18030": ("gb18030", "中文网页的内容€𠀀"),
    "big5": ("big5hkscs", "繁體中文網頁"),
    "euc-jp": ("euc_jp", "日本語の文章"),
    "iso-2022-jp": ("iso2022_jp", "日本語の文章"),
    "x-sjis": ("cp932", "日本語①㈱"),
    "ks_c_5601-1987": ("cp949", "한국어 똠방각하"),
    "utf-16": ("utf-16-le", "any text, 文"),
    "unicodefffe": ("utf-16-be", "any text, 文"),
}


@pytest.mark.parametrize("label", SAMPLES)
def test_labels_mean_what_the_encoding_standard_says(label: str) -> None:
    python_name, text = SAMPLES[label]
    if label == "windows-1258":  # Vietnamese marks stand apart in it
        text = "Ti\u00ea\u0301ng"
    found, name = decoded(text.encode(python_name), f"text/html; charset={label}")
    assert found == text and codecs.lookup(name) == codecs.lookup(python_name)


def test_unused_bytes_of_windows_encodings_are_control_characters_as_in_browsers() -> None:
    assert decoded(b"a\x81b", "text/html; charset=windows-1252")[0] == "a\x81b"
    assert decoded(b"a\xaab", "text/html; charset=windows-1253")[0] == "a\ufffdb"


def test_encodings_that_browsers_refuse_give_one_replacement_character() -> None:
    assert decoded(b"<script>~{", "text/html; charset=hz-gb-2312") == ("\ufffd", "replacement")


def test_undeclared_bytes_are_guessed() -> None:
    assert decoded(CYRILLIC.encode("cp1251"))[0] == CYRILLIC


def test_wrong_bytes_become_replacement_characters() -> None:
    assert decoded(b"a\xff\xfeb", "text/html; charset=utf-8")[0] == "a\ufffd\ufffdb"
    assert decoded(b"")[0] == ""

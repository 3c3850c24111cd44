"""Every reason of datatrove's rules on small texts, and edges of its arithmetic; the expected values were computed
once with datatrove 0.10.1, spaCy 3.8.18 and tldextract 5.4.0."""

import dataclasses
import hashlib
import json
import sys
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("spacy", reason="compat 'datatrove' needs the extra: pip install 'athanor[compat]'")
pytest.importorskip("tldextract", reason="compat 'datatrove' needs the extra: pip install 'athanor[compat]'")

from athanor.data.compat import addresses, c4, fineweb, gopher, spacy_words
from athanor.data.compat.decisions import bands
from athanor.data.compat.personal_data import Masker
from athanor.data.compat.spacy_words import sentences, split_words
from athanor.data.dedup.config import MinHash
from athanor.data.filters.c4 import C4
from athanor.data.filters.fineweb import FineWeb
from athanor.data.filters.gopher_quality import GopherQuality
from athanor.data.filters.gopher_repetition import GopherRepetition
from athanor.data.filters.verdict import Verdict
from athanor.data.url import UrlRule

PROSE = (
    "The garden behind the house was quiet in the early morning, and nobody had walked there for days. "
    "A small bird sat on the wall with its back to the wind and waited for the sun to come out. "
    "Beyond the gate the road went down to the river, where the old mill still stood among the trees. "
    "People in the village said that the miller had left one winter and would not be seen again. "
    "Every spring the children were told to stay away from the water, and every spring they went. "
)
LINES = "\n".join(sentence + "." for sentence in PROSE.strip().rstrip(".").split(". "))
NUMBERS = " ".join(f"word{i} and{i * 7} other{i * 13}" for i in range(60))

TEXTS: dict[str, str] = {
    "empty": "",
    "blank": " \n\t\n ",
    "prose": PROSE,
    "lines": LINES,
    "paragraphs": "\n\n".join(["One paragraph that comes again and again."] * 4 + [PROSE]),
    "paragraph_characters": "\n\n".join([PROSE[:96], *(f"Short part {i}" for i in range(6)), PROSE[:96]]),
    "lines_repeated": "\n".join(["Menu"] * 5 + ["Some other line", "And another one"]),
    "lines_edges": "\n" + LINES + "\n",
    "line_characters": LINES + "\n" + "\n".join(f"x{i}" for i in range(30)) + "\n" + LINES[:210],
    "top_2": "spam spam " * 40 + NUMBERS,
    "top_3": "one fine day two " * 14 + NUMBERS,
    "top_4": " ".join(f"all is well here {i}" for i in range(40)) + " " + NUMBERS,
    "ngrams_5": " ".join(f"{PROSE[:97]} {i}" for i in range(3)) + NUMBERS,
    "ngrams_6": NUMBERS + " ".join(" alpha beta gamma delta epsilon zeta " + str(i) for i in range(6)),
    "ngrams_8": NUMBERS[:700] + " a b c d e f g h i" * 7,
    "ngrams_10": NUMBERS[:900] + PROSE[:70] + NUMBERS[900:1200] + PROSE[:70],
    "run_together": "a bc d e f ab c d e f " * 8 + NUMBERS,
    "tie_of_top": "x yy x zz x yy x zz " + NUMBERS[:60],
    "short": "Only a few words are here, not fifty.",
    "marks": "- — … ! ? % ( ) 、 。 " * 20 + "word " * 20,
    "long": "the be word " * 34_000,
    "letters": "a b c d e f g h i j " * 10,
    "long_words": "extraordinarily incomprehensible responsibilities " * 25,
    "hashes": PROSE + " #" * 20,
    "ellipses": PROSE + " then..." * 6 + " so…" * 8,
    "bullets": "\n".join(f"- {line}" for line in (LINES + "\n" + LINES.upper()).split("\n")),
    "bullets_mixed": "\n".join(f"  • {line}" for line in LINES.split("\n")) + "\nplain",
    "trailing": "\n".join(f"{line[:60]}..." for line in LINES.split("\n")) + "\n" + LINES.replace(".", " …"),
    "digits": "1234 5678 the and of " * 30,
    "no_stop_words": NUMBERS,
    "lorem": LINES + "\nLOREM Ipsum dolor sit amet is here.",
    "curly": LINES + "\nif x { then } is no prose.",
    "curly_in_dropped_line": LINES + "\nif x { then }",
    "javascript": LINES + "\nPlease enable JavaScript to go on.",
    "policy": LINES + "\nRead our Privacy Policy before you go.",
    "citations": LINES.replace("house", "house[12]").replace("river", "river [edit]")
    + "\nAs was said.[1][citation needed]",
    "citations_alone": LINES + "\n[1] [2] [3]",
    "long_word": LINES + "\nSee " + "x" * 1001 + " for more.",
    "line_ends": LINES + "\nHe said \"yes\"\nShe said 'no'\nWell then...\nAnd so on…\n   two words.  ",
    "separators": LINES.replace("\n", "\x0b", 1).replace("\n", "\u2028", 1).replace("\n", "\r\n", 1),
    "four_sentences": "\n".join(LINES.split("\n")[:4]),
    "one_line_five_sentences": "Stop! Who goes there? Mr. Smith went. It is 3.5 miles. Go now.",
    "punctuated": "\n".join(f"Heading number {i} without any mark at its end here" for i in range(20)),
    "short_lines": LINES + "\n" + "\n".join(f"Item {i}." for i in range(20)),
    "repeated_line": LINES + "\n" + LINES.split("\n")[0],
    "list": "\n".join(f"A fairly long single-token-{'x' * 40}{i}." for i in range(10)),
    "list_of_words": "\n".join("antidisestablishmentarianism" + "abcdefghijklmno"[i] * 4 + "." for i in range(12)),
    "mails": "Write to ada@lovelace.org, bob.b@x-y.co.uk or <c@d.e>; not to a@b. Or root@[127.0.0.1] and q@[8.8.8.8]!",
    "ips": "Servers 8.8.8.8, 127.0.0.1, 10.1.2.3, 192.168.0.1, 1.1.1.1, 6.6.3.1.1, 256.1.1.1, 08.8.8.8 and 9.9.9.99.",
    "scripts": "価格は１２３円です。天気がいい！ Straße naïve café — résumé’s ‘quote’ 3,14 ٣٫٥ x² ①②.",
    "spacy": "I can't; we'll go to e.g. example.com/a-b (don't). U.S. $5.00 :-) IS_ALPHA end.Begin a/b c--d ’tis 5km.",
}
URLS = (
    "http://www.casino.example/",
    "https://blocked.co.uk/a",
    "http://www.blocked.co.uk/",
    "http://sub.listed.com/x",
    "http://listed.com/",
    "http://other.sub.listed.com/",
    "http://h.example/exact",
    "http://h.example/exact/",
    "http://h.example/badword/x",
    "http://h.example/Badword/x",
    "http://h.example/soft1",
    "http://h.example/soft1-soft2",
    "http://h.example/soft1-soft1",
    "http://h.example/so/me-p.art",
    "http://h.example/SOMEPART",
    "listed.com/y",
    "http://user:pw@sub.listed.com:8080/?q",
    "http://127.0.0.1/badword",
    "ftp://blocked.co.uk.",
    "http://BLOCKED.co.uk/",
)
LISTS = {
    "domains": "blocked.co.uk\nsub.listed.com\n  spaced.org \n",
    "urls": "http://h.example/exact\n",
    "banned_words.txt": "badword\n#comment\nCap-Word\n",
    "soft_banned_words.txt": "soft1\nsoft2\n",
    "banned_subwords.txt": "some part\n",
}


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> addresses.Lists:
    folder: Path = tmp_path_factory.mktemp("lists")
    for name, text in LISTS.items():
        (folder / name).write_text(text)
    return addresses.lists_of(UrlRule(), str(folder))


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(__file__).with_name("datatrove_0.10.1.json").read_text())
    return found


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()[:10]


def repeated(n: int) -> GopherRepetition:
    """The rule with nothing but a bound on repeated n-grams."""
    off: dict[str, float | None] = {field.name: None for field in dataclasses.fields(GopherRepetition)}
    return GopherRepetition(**off | {f"max_repeated_{n}gram": 0.05})


VERDICTS: dict[str, Callable[[str], Verdict]] = {
    **{f"repeated_{n}": partial(gopher.judge_repetition, words_of=split_words, rule=repeated(n)) for n in (6, 7, 8)},
    "repetition": partial(gopher.judge_repetition, words_of=split_words, rule=GopherRepetition()),
    "quality": partial(gopher.judge_quality, words_of=split_words, rule=GopherQuality()),
    "quality_loose": partial(
        gopher.judge_quality,
        words_of=split_words,
        rule=GopherQuality(min_words=None, min_stop_words=None, min_alphabetic_words=None),
    ),
    "fineweb": partial(fineweb.judge, words_of=split_words, rule=FineWeb()),
    "fineweb_zero": partial(
        fineweb.judge, words_of=split_words, rule=FineWeb(allow_no_terminal_mark=True, terminal_marks=(";",))
    ),
}
CLEANED: dict[str, C4] = {
    "c4": C4(),
    "c4_fineweb": C4(terminal_mark=False),
    "c4_sentences": C4(by_sentence=True, min_sentences=2),
    "c4_off": C4(
        terminal_mark=False,
        min_words_per_line=None,
        max_word_length=None,
        javascript_lines=False,
        policy_lines=False,
        citations=False,
        lorem_ipsum=False,
        curly_bracket=False,
        min_sentences=None,
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_judged_as_datatrove_judges_it(name: str, published: dict[str, Any]) -> None:
    text, expected = TEXTS[name], published["texts"][name]
    for rule, judge in VERDICTS.items():
        reason = judge(text).reason or None
        assert reason == ("empty" if expected[rule] == "ZERO" else expected[rule]), rule  # it divides by zero there
    for rule, config in CLEANED.items():
        cleaned = c4.clean(text, config)
        assert [cleaned.verdict.reason or None, sha1(cleaned.text)] == expected[rule], rule
    assert sha1(Masker().mask(text)) == expected["pii"]
    assert sha1("\n".join(split_words(text))) == expected["words"]
    assert len(sentences(text)) == expected["sentences"]
    signature = bands(text)
    assert (sha1(json.dumps(signature)) if signature else None) == expected["minhash"]


def test_every_reason_occurs(published: dict[str, Any]) -> None:
    reasons = {row[rule] for row in published["texts"].values() for rule in VERDICTS}
    reasons |= {row[rule][0] for row in published["texts"].values() for rule in CLEANED}
    ngrams = {f"duplicated_{n}_n_grams" for n in range(5, 11)} | {f"top_{n}_gram" for n in (2, 3, 4)}
    lines = {"dup_para_frac", "dup_para_char_frac", "dup_line_frac", "dup_line_char_frac"}
    gopher_quality = {
        "gopher_short_doc",
        "gopher_long_doc",
        "gopher_below_avg_threshold",
        "gopher_above_avg_threshold",
        "gopher_too_many_hashes",
        "gopher_too_many_ellipsis",
        "gopher_too_many_bullets",
        "gopher_too_many_end_ellipsis",
        "gopher_below_alpha_threshold",
        "gopher_enough_stop_words",
    }
    others = {"lorem_ipsum", "curly_bracket", "too_few_sentences", "empty"}
    prose = {"line_punct_ratio", "short_line_ratio", "char_dup_ratio", "list_ratio"}
    assert ngrams | lines | gopher_quality | others | prose <= reasons


@pytest.mark.parametrize("url", URLS)
def test_an_address_is_judged_as_datatrove_judges_it(
    url: str, lists: addresses.Lists, published: dict[str, Any]
) -> None:
    assert (addresses.judge(url, lists).reason or None) == published["urls"][url]


def test_own_lists_are_added_to_the_published_ones(tmp_path: Path) -> None:
    for name, text in LISTS.items():
        (tmp_path / name).write_text(text)
    own = tmp_path / "own.txt"
    own.write_text("domain mine.com\nword mineword\npart minepart\n")
    both = addresses.lists_of(UrlRule(lists=(str(own),)), str(tmp_path))
    reasons = [
        addresses.judge(url, both).reason
        for url in ("http://www.mine.com/", "http://a.example/mineword", "http://a.example/mine-part", URLS[1])
    ]
    assert reasons == ["domain", "hard_blacklisted", "blacklisted_subword", "domain"]
    only_own = addresses.lists_of(UrlRule(builtin=False, lists=(str(own),)))
    assert addresses.judge(URLS[1], only_own).kept and not addresses.judge("http://mine.com", only_own).kept


def test_the_archive_of_the_wheel_reads_like_its_files_in_blocks_of_any_size(
    tmp_path: Path, lists: addresses.Lists, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / addresses.ARCHIVE, "w:gz") as archive:
        for name in ("urls", "domains"):
            (tmp_path / name).write_text(LISTS[name])
            archive.add(tmp_path / name, name)
            (tmp_path / name).unlink()
    for name in ("banned_words.txt", "soft_banned_words.txt", "banned_subwords.txt"):
        (tmp_path / name).write_text(LISTS[name])
    monkeypatch.setattr(addresses, "READ_BYTES", 5)  # cuts every host
    packed = addresses.lists_of(UrlRule(), str(tmp_path))
    assert packed.hosts.tolist() == lists.hosts.tolist() and packed.urls == lists.urls
    assert [addresses.judge(url, packed) for url in URLS] == [addresses.judge(url, lists) for url in URLS]


def test_a_folder_without_the_lists_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"url_filterblacklistsv0_3_0\.tar\.gz"):
        addresses.lists_of(UrlRule(), str(tmp_path))


def test_replacements_go_on_from_text_to_text() -> None:
    masker = Masker()
    assert [masker.mask("a@b.org") for _ in range(3)] == [
        "email@example.com",
        "firstname.lastname@example.org",
        "email@example.com",
    ]
    assert masker.found == {"email": 1}


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    spacy_words._pipeline.cache_clear()
    with pytest.raises(ValueError, match=r"pip install 'athanor\[compat\]'"):
        split_words("A text that no test has split before.")
    spacy_words._pipeline.cache_clear()


def test_signatures_of_another_shape_have_that_shape() -> None:
    signature = bands(PROSE, MinHash(bands=3, rows=4))
    assert signature and [len(band) for band in signature] == [4, 4, 4]

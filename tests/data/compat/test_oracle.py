"""`compat: datatrove` on real pages, decision by decision against datatrove 0.10.1."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("spacy", reason="compat 'datatrove' needs the extra: pip install 'athanor[compat]'")
pytest.importorskip("tldextract", reason="compat 'datatrove' needs the extra: pip install 'athanor[compat]'")

from athanor.cli import main
from athanor.core.artifact import read_manifest
from athanor.core.documents import Document, read_documents, read_removed, shard_name, write_shard
from athanor.data.compat.decisions import decide
from athanor.data.compat.personal_data import EMAILS, IPS, Masker
from athanor.data.filters.verdict import Verdict

Row = dict[str, Any]
NAMES = {"gopher_rep": "gopher_repetition", "gopher_qual": "gopher_quality", "c4_fw": "c4_fineweb"}


@pytest.fixture(scope="module")
def rows(fidelity: Path) -> list[Row]:
    with gzip.open(fidelity / "data" / "oracle_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        next(file)
        found = [row for row in map(json.loads, file) if row["text"]]
    assert len(found) == 940
    return found


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> str:
    """datatrove's form of lists with the three hosts among these pages that stand on its own, which is 18 MB."""
    folder: Path = tmp_path_factory.mktemp("lists")
    (folder / "domains").write_text("siegessaeule.de\nlacuarta.com\njungefreiheit.de\n")
    for name in ("urls", "banned_words.txt", "soft_banned_words.txt", "banned_subwords.txt"):
        (folder / name).write_text("")
    return str(folder)


def differences(row: Row, lists: str) -> list[str]:
    """The names of the oracle's values for this page that ours differ from."""
    found = decide(row["text"], row["url"], lists)
    ours: dict[str, Any] = {
        "url_filter": plain(found.url_filter),
        "gopher_rep": plain(found.gopher_repetition),
        "gopher_qual": plain(found.gopher_quality),
        "fineweb": plain(found.fineweb),
        "seq": list(found.first_drop) if found.first_drop else None,
        "minhash": found.minhash,
    }
    for name, cleaned in (("c4", found.c4), ("c4_fw", found.c4_fineweb)):
        ours[name] = plain(cleaned.verdict)
        ours[f"{name}_text_len"] = len(cleaned.text)
        ours[f"{name}_text_sha1"] = hashlib.sha1(cleaned.text.encode()).hexdigest()
    theirs = {**row, "seq": row["seq"] and [NAMES.get(row["seq"][0], row["seq"][0]), row["seq"][1]]}
    return [name for name, value in ours.items() if value != theirs.get(name)]


def plain(verdict: Verdict) -> list[Any]:
    return [verdict.kept, verdict.reason or None]


def test_every_decision_and_reason_is_equal_on_some_pages(rows: list[Row], lists: str) -> None:
    short = [row for row in rows if len(row["text"]) < 12_000][::25]
    assert {row["url"]: differences(row, lists) for row in short} == {row["url"]: [] for row in short}


@pytest.mark.slow
def test_every_decision_and_reason_is_equal_on_every_page(rows: list[Row], lists: str) -> None:
    assert {row["url"]: found for row in rows if (found := differences(row, lists))} == {}


def test_masked_text_is_equal_from_the_place_in_the_turn_where_datatrove_was(rows: list[Row]) -> None:
    """Its replacements go on from page to page, and pages between these were left out of the file."""
    for row in rows:
        expected = row["pii"] or row["text"]
        turns = ((email, ip) for email in range(len(EMAILS)) for ip in range(len(IPS)))
        assert any(Masker(next_email=email, next_ip=ip).mask(row["text"]) == expected for email, ip in turns), row[
            "url"
        ]


@pytest.mark.slow
def test_the_command_line_stops_at_the_rule_and_for_the_reason_of_datatrove(
    rows: list[Row], lists: str, tmp_path: Path
) -> None:
    chosen = rows[::12]
    pages = [Document(row["id"], row["url"], row["text"]) for row in chosen]
    write_shard(tmp_path / "in" / shard_name(0), pages)
    settings = ["c4.terminal_mark=false", "fineweb={}", "language=null", f"compat_lists=[{lists}]"]
    arguments = ["data", "filter", "--documents", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--compat", "datatrove", *(part for each in settings for part in ("--set", each))]) == 0
    names = {**NAMES, "c4_fw": "c4", "url_filter": "url"}
    expected = {row["id"]: (names.get(row["seq"][0], row["seq"][0]), row["seq"][1]) for row in chosen if row["seq"]}
    removed = {row.document.id: (row.removed_by, row.reason) for row in read_removed(tmp_path / "out" / "removed")}
    assert removed == expected
    kept = {document.id for document in read_documents(tmp_path / "out" / "documents")}
    assert kept == {row["id"] for row in chosen if not row["seq"]}
    assert read_manifest(tmp_path / "out").metrics["documents_out"] == len(kept)

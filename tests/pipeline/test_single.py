"""One step by itself leaves a result like any other: kept when asked again, refused when it is another one."""

import json
import subprocess
import sys

import pytest

from athanor.cli import main
from athanor.core.artifact import read_manifest
from athanor.core.documents import Document, read_documents, write_shard
from athanor.crawl.config import Crawl
from athanor.pipeline import single
from athanor.pipeline.stages import KINDS

SENTENCE = "The furnace keeps one even heat through the whole of the long work, from matter to stone."


@pytest.fixture
def pages(tmp_path):
    rows = [
        Document(str(i), f"http://a.example/{i}", f"{SENTENCE} {name}")
        for i, name in enumerate(("one", "two", "one", "three"))
    ]
    write_shard(tmp_path / "pages" / "00000.parquet", rows)
    return tmp_path / "pages"


def dedup(pages, out, *more):
    return main(["data", "dedup", "--documents", str(pages), "--out", str(out), *more])


def test_a_step_leaves_a_result_that_is_kept_the_next_time(pages, tmp_path, capfd):
    assert dedup(pages, tmp_path / "out", "--set", "near=null") == 0
    made = read_manifest(tmp_path / "out")
    assert (made.kind, made.name, made.metrics["documents_in"], made.metrics["documents_out"]) == (
        "data.dedup",
        "dedup",
        4,
        3,
    )
    assert len(list(read_documents(tmp_path / "out" / "documents"))) == 3
    assert dedup(pages, tmp_path / "out", "--set", "near=null") == 0
    assert read_manifest(tmp_path / "out") == made


def test_a_folder_with_another_result_is_not_overwritten(pages, tmp_path, capfd):
    assert dedup(pages, tmp_path / "out", "--set", "near=null") == 0
    assert dedup(pages, tmp_path / "out", "--set", "near=null", "--no-exact") == 2
    assert "holds another result" in capfd.readouterr().err
    assert read_manifest(tmp_path / "out").metrics["documents_out"] == 3


def test_files_that_no_step_made_are_told_apart_by_their_content(pages, tmp_path, capfd):
    assert dedup(pages, tmp_path / "out", "--set", "near=null") == 0
    write_shard(pages / "00001.parquet", [Document("9", "http://a.example/9", f"{SENTENCE} four")])
    assert dedup(pages, tmp_path / "out", "--set", "near=null") == 2


def test_a_missing_input_folder_is_named(tmp_path, capfd):
    assert dedup(tmp_path / "nowhere", tmp_path / "out") == 2
    assert "nowhere" in capfd.readouterr().err


def test_hashes_of_large_files_are_taken_once(tmp_path, capfd):
    warc = tmp_path / "pages.warc"
    warc.write_bytes(b"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 0\r\n\r\n\r\n\r\n")
    single._done(KINDS["crawl"], Crawl(warc=(str(warc),)), {}, tmp_path / "out")
    known = json.loads((tmp_path / ".content.json").read_text())
    assert list(known) == [str(warc.resolve())]


def test_the_single_step_has_the_identity_that_a_recipe_gives_it(pages, tmp_path):
    assert dedup(pages, tmp_path / "runs" / "out", "--set", "near=null") == 0
    first = read_manifest(tmp_path / "runs" / "out")
    command = [sys.executable, "-m", "athanor.cli", "data", "dedup", "--documents", str(pages)]
    command += ["--out", str(tmp_path / "runs" / "again"), "--set", "near=null", "--workers", "2"]
    subprocess.run(command, check=True, capture_output=True)
    assert read_manifest(tmp_path / "runs" / "again").fingerprint == first.fingerprint


def test_a_rule_is_switched_off_or_on_as_in_a_recipe(pages, tmp_path, capfd):
    words = ["data", "filter", "--documents", str(pages), "--out", str(tmp_path / "out")]
    rules = ("url", "language", "gopher_repetition", "gopher_quality", "c4", "pii")
    off = [word for rule in rules for word in ("--set", f"{rule}=null")]
    assert main([*words, *off, "--set", "fineweb.max_repeated_line_characters=0.5"]) == 0
    made = read_manifest(tmp_path / "out")
    assert [row["rule"] for row in made.metrics["funnel"]] == ["fineweb"]
    assert made.config["fineweb"]["max_repeated_line_characters"] == 0.5


def test_a_mistyped_setting_is_answered_with_the_right_word(pages, tmp_path, capfd):
    assert dedup(pages, tmp_path / "out", "--set", "nera=null") == 2
    assert "did you mean 'near'" in capfd.readouterr().err
    assert dedup(pages, tmp_path / "out", "--set", "near") == 2
    assert "expected field=value" in capfd.readouterr().err


def domains(pages, out, *more):
    return main(["data", "domains", "--documents", str(pages), "--out", str(out), "--min-examples", "2", *more])


def test_after_an_error_mended_options_begin_anew(pages, tmp_path, capfd):
    rows = [Document(f"b{i}", f"http://b.example/{i}", f"{SENTENCE} {i} and more words") for i in range(4)]
    write_shard(pages / "00001.parquet", rows)
    assert domains(pages, tmp_path / "out") == 2  # no list names these hosts
    (tmp_path / "labels.txt").write_text("first a.example\nsecond b.example\n")
    assert domains(pages, tmp_path / "out", "--lists", str(tmp_path / "labels.txt")) == 0
    found = [row.metadata["domain"] for row in read_documents(tmp_path / "out" / "documents")]
    assert found == ["first"] * 4 + ["second"] * 4


def test_unfinished_work_is_not_continued_under_other_options(pages, tmp_path, capfd, monkeypatch):
    def killed(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(single, "execute", killed)
        assert dedup(pages, tmp_path / "out", "--set", "near=null") == 130
    (tmp_path / "out" / "_work").mkdir()
    assert dedup(pages, tmp_path / "out", "--set", "near=null", "--no-exact") == 2
    assert "holds unfinished work with other options (exact True -> False)" in capfd.readouterr().err
    assert dedup(tmp_path / "out", tmp_path / "other") == 2
    assert "is unfinished" in capfd.readouterr().err
    assert dedup(pages, tmp_path / "out", "--set", "near=null") == 0


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path, capfd):
    (tmp_path / "c4.json.gz").write_bytes(b"")
    assert dedup(tmp_path / "c4.json.gz", tmp_path / "out") == 2
    assert "is a file" in capfd.readouterr().err


def test_a_folder_without_documents_is_no_empty_corpus(tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    assert dedup(tmp_path / "empty", tmp_path / "out") == 2
    assert "no document shards" in capfd.readouterr().err

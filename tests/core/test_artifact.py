"""Files appear whole or not at all; a manifest makes a result finished."""

import json
import subprocess
import sys

import pytest

from athanor.core.artifact import (
    atomic_path,
    canonical_json,
    read_jsonl,
    read_manifest,
    result_files,
    write_json,
    write_jsonl,
    write_text,
)


def test_a_failure_while_writing_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "result.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["result.txt"]


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.txt"
    write_text(path, "old")
    program = (
        "import os, sys, signal, pathlib\n"
        "from athanor.core.artifact import atomic_path\n"
        "with atomic_path(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('new'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert path.read_text() == "old"


def test_a_file_is_readable_by_whom_the_umask_says(tmp_path):
    write_text(tmp_path / "a", "text")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_value_that_json_lacks_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"a": "ü\n"}, {"b": 2}])
    assert list(read_jsonl(path)) == [{"a": "ü\n"}, {"b": 2}]
    path.write_text('{"a": 1}\n{"b": \n')
    with pytest.raises(ValueError, match=r"rows\.jsonl: line 2 is not valid JSON"):
        list(read_jsonl(path))


def test_scratch_hidden_files_and_the_manifest_are_no_results(tmp_path):
    for name in ("data/00000.parquet", "_work/half", ".lock", "manifest.json", "data/manifest.json"):
        write_text(tmp_path / name, name)
    assert [file.path for file in result_files(tmp_path)] == ["data/00000.parquet", "data/manifest.json"]


def test_a_manifest_of_a_newer_format_is_refused_and_none_is_none(tmp_path):
    assert read_manifest(tmp_path) is None
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        read_manifest(tmp_path)


def test_equal_values_have_one_canonical_form():
    assert canonical_json({"b": 1, "a": [1.0, "ü"]}) == canonical_json({"a": [1.0, "ü"], "b": 1})

"""Real archives, broken ones among them, give the same bytes from S3 and from a web server as from a folder."""

import hashlib
from pathlib import Path

import pytest
from servers import served

from athanor.data.config import Extract
from athanor.data.extract import run


def content(out: Path) -> dict[str, str]:
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and "_work" not in path.parts]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_broken_archives_elsewhere_are_read_as_those_here(
    fidelity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3fs = pytest.importorskip("s3fs", reason="pip install 'athanor[remote]'")
    archives = fidelity / "data" / "warc"
    here = tmp_path / "here"
    run(Extract(time_limit_seconds=None), {"pages": archives}, here)
    files = {f"/bucket/warc/{path.name}": path.read_bytes() for path in archives.iterdir()}
    with served(files) as server:
        for name, value in {"ENDPOINT_URL": server.address, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        s3fs.S3FileSystem.clear_instance_cache()
        server.break_after, server.breaks = 100_000, 2  # transfers break off and go on
        places = {
            "s3": ("s3://bucket/warc",),
            "web": tuple(f"{server.address}/bucket/warc/{path.name}" for path in archives.iterdir()),
        }
        for name, paths in places.items():
            metrics = run(Extract(time_limit_seconds=None, paths=paths), {}, tmp_path / name)
            assert metrics["pages"] == 48 and metrics["errors"] == 3
            assert content(tmp_path / name) == content(here)
        s3fs.S3FileSystem.clear_instance_cache()
    assert not [path for path in (tmp_path / "s3" / "_work" / "fetched").rglob("*") if path.is_file()]

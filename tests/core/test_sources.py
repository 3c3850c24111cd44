"""Files are found and fetched from wherever they lie; a broken transfer goes on, credentials stay out."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Files, served

from athanor.core import sources as module
from athanor.core.config import fingerprint_dict
from athanor.core.sources import MissingSourceError, Source, braces_expanded, check_addresses, local_copy, sources
from athanor.data.corpora.config import Read

CONTENT = bytes(random.Random(0).randbytes(300_000))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """A server of files over HTTP and as S3, without waiting between attempts."""
    import fsspec
    import s3fs

    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    with served({"/bucket/a/0.bin": CONTENT, "/bucket/a/b/1.bin": b"1", "/bucket/a/README": b"r"}) as held:
        monkeypatch.setenv("AWS_ENDPOINT_URL", held.address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "name")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "word")
        s3fs.S3FileSystem.clear_instance_cache()
        fsspec.get_filesystem_class("http").clear_instance_cache()
        yield held
        s3fs.S3FileSystem.clear_instance_cache()


def fetched(source: Source, folder: Path) -> bytes:
    with local_copy(source, folder) as path:
        content = path.read_bytes()
    assert not list(folder.iterdir()), "nothing is left behind"
    return content


def test_braces_stand_for_lists_and_ranges() -> None:
    assert braces_expanded("a{08..10}b") == ["a08b", "a09b", "a10b"]
    assert braces_expanded("{x,y}{1..2}") == ["x1", "x2", "y1", "y2"]
    assert braces_expanded("a{b}c") == ["a{b}c"]


def test_local_files_come_sorted_and_hidden_ones_only_when_named(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c/d.txt", ".hidden/e.txt", "c/.f.txt", "g.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    wanted = re.compile(r"\.txt$")
    found = sources([str(tmp_path), str(tmp_path / "a.txt")], wanted)
    assert [source.address for source in found] == [str(tmp_path / name) for name in ("a.txt", "b.txt", "c/d.txt")]
    assert [source.name for source in sources([f"file://{tmp_path}/g.png"], wanted)] == ["g.png"]
    with pytest.raises(ValueError, match="no file matches"):
        sources([str(tmp_path / "*.gz")])


def test_s3_is_listed_and_fetched(server: Files, tmp_path: Path) -> None:
    found = sources(["s3://bucket/a"], re.compile(r"\.bin$"))
    assert [(source.address, source.size_bytes) for source in found] == [
        ("s3://bucket/a/0.bin", len(CONTENT)),
        ("s3://bucket/a/b/1.bin", 1),
    ]
    assert found == sources(["s3://bucket/a/**/*.bin"])
    assert sources(["s3://bucket/a/{0..0}.bin"]) == found[:1]
    assert fetched(found[0], tmp_path / "scratch") == CONTENT
    with pytest.raises(MissingSourceError, match="absent"):
        sources(["s3://bucket/absent.bin"])


def test_files_are_fetched_over_http(server: Files, tmp_path: Path) -> None:
    (source,) = sources([f"{server.address}/bucket/a/0.bin"])
    assert source.size_bytes == len(CONTENT) and fetched(source, tmp_path) == CONTENT
    with pytest.raises(MissingSourceError):
        sources([f"{server.address}/absent"])


def test_google_and_other_storages_are_reached_through_fsspec(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/corpus/x.bin", CONTENT)
    try:
        (source,) = sources(["memory://corpus/*.bin"])
        assert source.size_bytes == len(CONTENT) and fetched(source, tmp_path) == CONTENT
    finally:
        memory.rm("/corpus", recursive=True)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_transfer_that_breaks_off_goes_on(
    ranges: bool, server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 50_000)
    server.ranges = ranges
    (source,) = sources([f"{server.address}/bucket/a/0.bin"])
    server.break_after, server.breaks = 40_000, 3
    server.asked.clear()
    assert fetched(source, tmp_path) == CONTENT and server.breaks == 0


def test_what_was_fetched_before_is_not_fetched_again(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 50_000)
    (source,) = sources([f"{server.address}/bucket/a/0.bin"])
    with local_copy(source, tmp_path) as path:
        name = path.name
    (tmp_path / f"{name}.part").write_bytes(CONTENT[:250_000])
    server.asked.clear()
    assert fetched(source, tmp_path) == CONTENT
    starts = [int(wanted[6:].partition("-")[0]) for method, _, wanted in server.asked if method == "GET" and wanted]
    assert starts and min(starts) >= 250_000


def test_a_transfer_that_never_ends_well_is_given_up(server: Files, tmp_path: Path) -> None:
    (source,) = sources([f"{server.address}/bucket/a/0.bin"])
    server.break_after, server.breaks = 0, 10**6
    with pytest.raises(ValueError, match="broke off 6 times in a row"), local_copy(source, tmp_path):
        pass


def test_copies_can_be_kept_on_another_disk(server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = sources([f"{server.address}/bucket/a/b/1.bin"])
    monkeypatch.setenv("ATHANOR_SCRATCH", str(tmp_path / "disk"))
    with local_copy(source, tmp_path / "shared") as path:
        assert path.read_bytes() == b"1" and (tmp_path / "disk") in path.parents
    assert not (tmp_path / "shared").exists() and not path.exists()


def test_a_server_that_is_gone_is_no_missing_file(server: Files, tmp_path: Path) -> None:
    (source,) = sources([f"{server.address}/bucket/a/0.bin"])
    port = re.search(r":(\d+)/", source.address)
    assert port
    gone = Source(source.address.replace(port[1], "1"), source.size_bytes)
    with (
        pytest.raises(ValueError, match=r"broke off 6 times in a row: .*[Cc]onnect") as raised,
        local_copy(gone, tmp_path),
    ):
        pass
    assert not isinstance(raised.value, MissingSourceError)


@pytest.mark.parametrize(
    "address",
    [
        "https://name:word@h.example/x",
        "https://h.example/x?X-Amz-Signature=abc",
        "s3://key:word@bucket/x",
        "https://h.example/x?access_token=abc",
    ],
)
def test_addresses_with_credentials_are_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ValueError, match="must hold no credentials") as raised:
        check_addresses([address])
    assert "word" not in str(raised.value).replace("password", "") and "abc" not in str(raised.value)


def test_an_unknown_storage_is_told_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        sources(["nowhere://x"])


def test_content_counts_for_files_here_and_the_address_for_those_elsewhere(tmp_path: Path) -> None:
    def content_of(path: Path) -> str:
        return path.read_text()

    (tmp_path / "a").write_text("same")
    (tmp_path / "b").write_text("same")
    one, other = (
        fingerprint_dict(Read(paths=(str(tmp_path / name), "s3://bucket/x")), content_of)["paths"] for name in "ab"
    )
    assert one == other == ["same", "s3://bucket/x"]

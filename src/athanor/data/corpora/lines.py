"""Lines of plain and compressed files, in bounded memory, whatever state the file is in.

In: a file, plain or gzip, zstd, lz4, bzip2 or xz, of one compressed member or many. Out: its lines with their
places. What is damaged or grows out of proportion is reported and costs what it holds: after a broken gzip member
reading goes on with the next one, of the other kinds the rest of the file is lost.
"""

import bz2
import io
import lzma
import mmap
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

BLOCK_BYTES = 1 << 20
FREE_GROWTH_BYTES = 64 * 1024 * 1024
"""A file may grow to this size whatever its compressed size: short files of one repeated line are no bombs."""

_GZIP = b"\x1f\x8b\x08"
_OTHERS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}

Report = Callable[[str, str], None]
"""Takes note of a problem: (place, what is wrong)."""


def compression_of(path: Path) -> str:
    """How a file is compressed, by its first bytes: gzip, zstd, lz4, bzip2, xz, or empty for none."""
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(_GZIP):
        return "gzip"
    return next((name for magic, name in _OTHERS.items() if start.startswith(magic)), "")


def lines_of(
    path: Path, report: Report, *, max_line_bytes: int, max_growth: float, start: int = 0, end: int | None = None
) -> Iterator[tuple[str, bytes]]:
    """The lines of a file without their ends, each with its place.

    Of a plain file only those that begin at or after byte `start` and before `end`. Longer lines than
    `max_line_bytes` are reported and passed over.
    """
    if not path.stat().st_size:
        report("byte 0", "empty file")
    if compression_of(path):
        yield from _cut(blocks_of(path, report, max_growth), report, max_line_bytes)
        return
    with path.open("rb") as file:
        if start:
            file.seek(start - 1)
            _pass_line_end(file)  # a line that begins before `start` belongs to the piece before
        yield from _cut(_plain_blocks(file), report, max_line_bytes, file.tell(), end)


def blocks_of(path: Path, report: Report, max_growth: float) -> Iterator[bytes | None]:
    """The decompressed content of a file, block by block; None stands where something is missing."""
    kind = compression_of(path)
    grown = 0
    blocks = _gzip_blocks(path, report) if kind == "gzip" else _other_blocks(path, kind, report)
    for block, consumed in blocks:
        yield block
        grown += len(block or b"")
        if kind and grown > FREE_GROWTH_BYTES and grown > max_growth * max(1, consumed):
            report(f"byte {grown} of the text", f"grows by more than a factor of {max_growth:g}; the rest is left out")
            return


def _gzip_blocks(path: Path, report: Report) -> Iterator[tuple[bytes | None, int]]:
    """Blocks with the compressed bytes they took so far; goes on after broken members."""
    with path.open("rb") as file:
        member = offset = 0
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        fed = False
        while True:
            data = file.read(BLOCK_BYTES // 8)
            if not data:
                break
            while data:
                try:
                    # bounded: 128 kB of compressed zeros would be 128 MB of plain ones
                    block = inflater.decompress(data, BLOCK_BYTES)
                except zlib.error as error:
                    report(f"byte {member}", f"broken gzip member: {str(error).rpartition(': ')[2]}")
                    yield None, offset
                    following = _next_gzip_member(path, member + 1)
                    if following is None:
                        return
                    file.seek(following)
                    member = offset = following
                    inflater, fed, data = zlib.decompressobj(16 + zlib.MAX_WBITS), False, b""
                    continue
                fed = True
                rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                offset += len(data) - len(rest)
                data = rest
                if block:
                    yield block, offset
                if inflater.eof:
                    padded, data = len(data), data.lstrip(b"\0")  # tapes and blocks are filled up with zeros
                    member = offset = offset + padded - len(data)
                    inflater, fed = zlib.decompressobj(16 + zlib.MAX_WBITS), False
        if fed and not inflater.eof:
            report(f"byte {member}", "gzip member cut short")
            yield None, offset


def _next_gzip_member(path: Path, start: int) -> int | None:
    """The first place at or after `start` where a gzip member begins that can be read for a while."""
    with path.open("rb") as file, closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as content:
        while (place := content.find(_GZIP, start)) != -1:
            try:
                if zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(content[place : place + 4096]):
                    return place
            except zlib.error:
                pass  # the same bytes by chance
            start = place + 1
    return None


def _other_blocks(path: Path, kind: str, report: Report) -> Iterator[tuple[bytes | None, int]]:
    """Blocks of a file that is not gzip; after damage the last bytes before it are fetched in small steps."""
    good = 0
    for step in (BLOCK_BYTES, 4096):
        with path.open("rb") as file:
            try:
                stream = _stream(file, kind)
                to_skip = good
                while to_skip:
                    to_skip -= len(stream.read(min(to_skip, BLOCK_BYTES)))
                while block := stream.read(step):
                    good += len(block)
                    yield block, file.tell()
                return
            except (OSError, EOFError, lzma.LZMAError) as error:
                problem = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    report(f"byte {good} of the text", f"broken {kind}: {problem}; the rest is left out")
    yield None, 0


def _stream(file: io.BufferedReader, kind: str) -> Any:
    if not kind:
        return file
    if kind == "bzip2":
        return bz2.BZ2File(file)
    if kind == "xz":
        return lzma.LZMAFile(file)
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), kind)


def _plain_blocks(file: io.BufferedReader) -> Iterator[bytes | None]:
    while block := file.read(BLOCK_BYTES):
        yield block


def _cut(
    blocks: Iterator[bytes | None], report: Report, max_line_bytes: int, offset: int = 0, end: int | None = None
) -> Iterator[tuple[str, bytes]]:
    """Lines of the text in `blocks`, whose first byte is at `offset`; up to those that begin before `end`.

    Places are line numbers, or bytes where the text begins in the middle of a file.
    """
    counted = offset == 0  # line numbers are known
    number = 1
    held = b""  # the beginning of a line whose end has not come yet
    too_long = 0  # bytes of a line that is being passed over
    lost = False  # whether the next bytes stand somewhere within a line

    def place() -> str:
        return f"line {number}" if counted else f"byte {offset}"

    for block in blocks:
        if block is None:
            if held or too_long:
                report(place(), "line cut short by damage")
            held, too_long, lost, counted = b"", 0, True, False
            continue
        if lost and not block.startswith(b"{"):  # members often begin with a line, and JSON shows it
            cut = block.find(b"\n") + 1
            offset += cut or len(block)
            if not cut:
                continue
            block = block[cut:]
        lost = False
        parts = block.split(b"\n")
        if too_long:
            too_long += len(parts[0])
            if len(parts) == 1:
                continue
            report(place(), f"line of {too_long} bytes, more than {max_line_bytes}")
            offset, number, too_long = offset + too_long + 1, number + 1, 0
            del parts[0]
        else:
            parts[0] = held + parts[0]
        for line in parts[:-1]:
            if end is not None and offset >= end:
                return
            if len(line) > max_line_bytes:
                report(place(), f"line of {len(line)} bytes, more than {max_line_bytes}")
            else:
                yield place(), line
            offset, number = offset + len(line) + 1, number + 1
        held = parts[-1]
        if len(held) > max_line_bytes:
            held, too_long = b"", len(held)
    if end is not None and offset >= end:
        return
    if too_long:
        report(place(), f"line of {too_long} bytes, more than {max_line_bytes}")
    elif held:
        yield place(), held


def _pass_line_end(file: io.BufferedReader) -> None:
    """Move behind the next end of a line."""
    while (piece := file.readline(BLOCK_BYTES)) and not piece.endswith(b"\n"):
        pass

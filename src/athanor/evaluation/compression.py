"""Bits per byte of `xz -9` primed with the training text: what a general compressor learns from the same pages.

The training documents are compressed alone, then followed by the documents to predict; the difference of the two
sizes is what the latter cost. A zero byte ends each document, so that the stream can be split again. Unlike a model
that meets each document alone, xz may copy from the documents before it: the protocol favours xz. Its dictionary
holds 64 MiB, so of longer training text it sees the last 64 MiB only.
"""

import lzma
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

PRESET = 9
DICTIONARY_BYTES = 64 * 1024 * 1024  # of preset 9
END_OF_DOCUMENT = b"\0"


def xz_bits_per_byte(training: Sequence[str], documents: Sequence[str]) -> float:
    """Bits that `documents` add to the compressed training text, over their UTF-8 bytes.

    Raises ValueError when the documents hold no text.
    """
    num_bytes = sum(len(_encoded(document)) for document in documents)
    if num_bytes == 0:
        raise ValueError("no text to compress")
    with ThreadPoolExecutor(max_workers=2) as threads:  # the compressor releases the interpreter lock
        alone = threads.submit(_compressed_size, training)
        together = threads.submit(_compressed_size, [*training, *documents])
        return 8 * (together.result() - alone.result()) / num_bytes


def _compressed_size(documents: Sequence[str]) -> int:
    compressor = lzma.LZMACompressor(format=lzma.FORMAT_XZ, preset=PRESET)
    size = 0
    for document in documents:
        size += len(compressor.compress(_encoded(document) + END_OF_DOCUMENT))
    return size + len(compressor.flush())


def _encoded(document: str) -> bytes:
    return document.encode("utf-8", "surrogatepass")

"""The key under which texts that differ only in white space are equal."""

import hashlib

import numpy as np

from athanor.data.dedup.words import Hashes


def text_key(text: str) -> Hashes:
    """128 bits of BLAKE2b of the text with every run of white space as one space, as two 64-bit numbers."""
    plain = " ".join(text.split()).encode("utf-8", "surrogatepass")
    return np.frombuffer(hashlib.blake2b(plain, digest_size=16).digest(), "<u8").astype(np.uint64)

"""Which document of a group of likely copies is kept, and which are removed because of it.

In: the documents that met in a band or share a text key, with their true shingle sets. Out: one decision for
each. A chain of likenesses (a like b, b like c) does not make its ends alike, so a document goes only when it is
similar enough to one that is kept: documents are taken in order of preference, and each is either removed
because of an earlier kept one or kept itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from athanor.data.dedup.minhash import jaccard
from athanor.data.dedup.words import Hashes

# A group in which so many documents are kept is one long chain of half-likenesses; comparing all with all would
# take the square of its size, so documents are compared with the first kept ones only.
MOST_KEPT_COMPARED = 1000

NEAR = "near"
Keep = Literal["longest", "first", "latest"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that may be a copy of another."""

    position: int
    """Place in the input, over all shards."""
    id: str
    url: str
    size_bytes: int = 0
    date: str = ""
    """ISO 8601; empty where unknown."""
    key: int = 0
    """128 bits; equal keys make copies: of the text, or of what else is compared."""
    file: int = 0
    row: int = 0
    """Where its shingles are found."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A document to remove, the kept one it copies, and how alike they are."""

    document: Candidate
    kept: Candidate
    similarity: float
    """True Jaccard similarity of the shingle sets; 1 for equal keys."""
    removed_by: str
    """What makes it a copy: `near`, or the name of what is equal."""


def copies(
    group: Sequence[Candidate],
    keep: Keep,
    min_similarity: float | None,
    equal: str | None,
    shingles_of: Callable[[Candidate], Hashes],
) -> list[Copy]:
    """The documents of `group` to remove, in order of preference.

    Equal keys make a copy, which is called `equal`, unless that is None; with `min_similarity`, so does that Jaccard
    similarity. `shingles_of` reads the hashes of a document's shingles, sorted, without repeats; of a document whose
    key is known they are never asked for.
    """
    compared: list[tuple[Candidate, Hashes]] = []  # the first kept ones, with their shingles
    found: list[Copy] = []
    kept_for_key: dict[int, tuple[Candidate, float, str]] = {}
    for document in _by_preference(group, keep):
        match = kept_for_key.get(document.key) if equal else None
        if match is None and min_similarity is not None:
            shingles = shingles_of(document)
            match = _first_similar(shingles, compared, min_similarity)
            if match is None and len(compared) < MOST_KEPT_COMPARED:
                compared.append((document, shingles))
        if match is None:
            kept_for_key[document.key] = (document, 1.0, equal or "")
        else:
            kept_for_key.setdefault(document.key, match)
            found.append(Copy(document, *match))
    return found


def cluster_rows(found: Sequence[Copy]) -> list[dict[str, Any]]:
    """One row per kept document with its copies, in the order of the input; for clusters.jsonl.

    `position` is the kept document's place in the input; clusters.jsonl has a running number instead.
    """
    by_kept: dict[int, list[Copy]] = {}
    for copy in found:
        by_kept.setdefault(copy.kept.position, []).append(copy)
    rows: list[dict[str, Any]] = []
    for position in sorted(by_kept):
        members = sorted(by_kept[position], key=lambda copy: copy.document.position)
        rows.append(
            {
                "position": position,
                "size": len(members) + 1,
                "kept": {"id": members[0].kept.id, "url": members[0].kept.url},
                "members": [
                    {
                        "id": copy.document.id,
                        "url": copy.document.url,
                        "removed_by": copy.removed_by,
                        "similarity": round(copy.similarity, 4),
                    }
                    for copy in members
                ],
            }
        )
    return rows


def _by_preference(group: Sequence[Candidate], keep: Keep) -> list[Candidate]:
    """The documents in the order in which they are kept."""
    in_order = sorted(group, key=lambda document: document.position)
    if keep == "latest":
        return sorted(in_order, key=lambda document: document.date, reverse=True)  # equal dates keep their order
    if keep == "longest":
        return sorted(in_order, key=lambda document: (-document.size_bytes, len(document.url), document.id))
    return in_order


def _first_similar(
    shingles: Hashes, compared: Sequence[tuple[Candidate, Hashes]], min_similarity: float
) -> tuple[Candidate, float, str] | None:
    for other, of_other in compared:
        similarity = jaccard(shingles, of_other)
        if similarity >= min_similarity:
            return other, similarity, NEAR
    return None

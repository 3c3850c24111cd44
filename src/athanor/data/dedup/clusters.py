"""Which document of a group of likely copies is kept, and which are removed because of it.

In: the documents that met in a band or share a text key, with their true shingle sets. Out: one decision for
each. A chain of likenesses (a like b, b like c) does not make its ends alike, so a document goes only when it is
similar enough to one that is kept: documents are taken in order of preference, and each is either removed
because of an earlier kept one or kept itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from athanor.data.dedup.minhash import jaccard
from athanor.data.dedup.words import Hashes

# A group in which so many documents are kept is one long chain of half-likenesses; comparing all with all would
# take the square of its size, so documents are compared with the first kept ones only.
MOST_KEPT_COMPARED = 1000


@dataclass(frozen=True)
class Candidate:
    """A document that may be a copy of another."""

    position: int
    """Place in the input, over all shards."""
    id: str
    url: str
    size_bytes: int
    text_key: tuple[int, int]
    shingles: Hashes
    """Sorted, without repeats."""


@dataclass(frozen=True)
class Copy:
    """A document to remove, the kept one it copies, and how alike they are."""

    document: Candidate
    kept: Candidate
    similarity: float
    """True Jaccard similarity of the shingle sets; 1 for equal texts."""
    exact: bool


def copies(
    group: Sequence[Candidate],
    keep: Literal["longest", "first"],
    min_similarity: float | None,
    exact: bool,
) -> list[Copy]:
    """The documents of `group` to remove, in order of preference.

    With `exact`, equal text keys make a copy; with `min_similarity`, so does that Jaccard similarity.
    """
    kept: list[Candidate] = []
    found: list[Copy] = []
    kept_for_text: dict[tuple[int, int], tuple[Candidate, float, bool]] = {}
    for document in sorted(group, key=_preference(keep)):
        match = kept_for_text.get(document.text_key) if exact else None
        if match is None and min_similarity is not None:
            match = _first_similar(document, kept, min_similarity)
        if match is None:
            kept.append(document)
            kept_for_text[document.text_key] = (document, 1.0, True)
        else:
            kept_for_text.setdefault(document.text_key, match)
            found.append(Copy(document, *match))
    return found


def cluster_rows(found: Sequence[Copy]) -> list[Mapping[str, Any]]:
    """One row per kept document with its copies, in the order of the input; for clusters.jsonl."""
    by_kept: dict[int, list[Copy]] = {}
    for copy in found:
        by_kept.setdefault(copy.kept.position, []).append(copy)
    rows: list[Mapping[str, Any]] = []
    for number, position in enumerate(sorted(by_kept)):
        members = sorted(by_kept[position], key=lambda copy: copy.document.position)
        rows.append(
            {
                "cluster": number,
                "size": len(members) + 1,
                "kept": {"id": members[0].kept.id, "url": members[0].kept.url},
                "members": [
                    {
                        "id": copy.document.id,
                        "url": copy.document.url,
                        "removed_by": "exact" if copy.exact else "near",
                        "similarity": round(copy.similarity, 4),
                    }
                    for copy in members
                ],
            }
        )
    return rows


def _preference(keep: Literal["longest", "first"]) -> Callable[[Candidate], Any]:
    if keep == "first":
        return lambda document: document.position
    return lambda document: (-document.size_bytes, len(document.url), document.id, document.position)


def _first_similar(
    document: Candidate, kept: Sequence[Candidate], min_similarity: float
) -> tuple[Candidate, float, bool] | None:
    for other in kept[:MOST_KEPT_COMPARED]:
        similarity = jaccard(document.shingles, other.shingles)
        if similarity >= min_similarity:
            return other, similarity, False
    return None

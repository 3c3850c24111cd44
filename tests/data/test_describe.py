"""Promises of data/describe.py."""

import json

from athanor.core.documents import Document
from athanor.data import describe
from athanor.data.describe import Description


def document(number: int, size: int, language: str = "en", **metadata: object) -> Document:
    url = f"https://www.host{number % 3}.org/{number}"
    return Document(str(number), url, "x" * size, "web", language=language, metadata=metadata)


DOCUMENTS = [
    document(0, 0, ""),
    document(1, 1, quality=1.0),
    document(2, 1023, quality=0.5, domain="code"),
    document(3, 1024, "de", domain="code", token_count=300),
    document(4, 2047, domain="news"),
]


def described(documents: list[Document]) -> Description:
    found = Description()
    for row in documents:
        found.add(row)
    return found


def test_a_hand_counted_example() -> None:
    metric = described(DOCUMENTS).metric()
    assert (metric["documents"], metric["bytes"]) == (5, 4095)
    lengths = dict(zip(metric["length_histogram"]["edges"], metric["length_histogram"]["counts"], strict=False))
    assert {edge: count for edge, count in lengths.items() if count} == {1: 2, 512: 1, 1024: 2}
    assert metric["length_histogram"]["edges"][-1] == 2048
    assert metric["score_histogram"]["counts"][10] == 1 and metric["score_histogram"]["counts"][19] == 1
    assert metric["languages"] == {"en": 3, "de": 1, "unknown": 1}
    assert metric["domains"] == {"code": 2, "news": 1}
    assert metric["hosts"] == {"host0.org": 2, "host1.org": 2, "host2.org": 1}
    assert metric["tokens_noted"] == {"documents": 1, "tokens": 300}
    json.dumps(metric, allow_nan=False)


def test_documents_can_be_counted_on_their_way() -> None:
    found = Description()
    assert list(found.seen(iter(DOCUMENTS))) == DOCUMENTS
    assert found == described(DOCUMENTS) == Description.of_documents(DOCUMENTS)


def test_shards_add_up_to_the_whole() -> None:
    parts = [json.loads(json.dumps(described(rows).counts())) for rows in (DOCUMENTS[:2], DOCUMENTS[2:], [])]
    assert Description.of(parts).metric() == described(DOCUMENTS).metric()
    assert described([]).metric()["length_histogram"] == {"edges": [], "counts": []}


def test_hosts_beyond_the_limit_are_dropped_and_it_is_said(monkeypatch) -> None:
    monkeypatch.setattr(describe, "MOST_NAMES", 10)
    rows = [Document(str(i), f"https://h{min(i, 100) if i % 2 else 0}.org/", "x") for i in range(80)]
    metric = described(rows).metric()
    assert next(iter(metric["hosts"].items())) == ("h0.org", 40)
    assert metric["hosts_cut"] is True
    assert "hosts_cut" not in described(rows[:5]).metric()


def test_names_beyond_the_top_are_one_entry() -> None:
    assert describe.top({f"h{i:02d}": i + 1 for i in range(30)}, 2) == {"h29": 30, "h28": 29, "(others)": 406}


def test_odd_addresses_have_no_host() -> None:
    assert describe.host_of_url("http://[broken") == ""
    assert describe.host_of_url("") == ""

"""Documents come back from Parquet as they went in."""

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanor.core.documents import (
    Document,
    Removed,
    read_documents,
    read_removed,
    read_shard,
    shard_name,
    shards,
    write_removed_shard,
    write_shard,
)

texts = st.text(st.characters(exclude_categories=["Cs"]))
documents = st.builds(
    Document, texts, texts, texts, texts, texts, texts, st.dictionaries(texts, st.none() | st.integers() | texts)
)


@given(st.lists(documents, max_size=4))
def test_documents_survive_a_shard(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("documents") / shard_name(0)
    write_shard(path, found)
    assert read_shard(path) == found


def test_shards_are_read_in_order_and_removed_documents_keep_their_reason(tmp_path):
    for index in (1, 0):
        write_shard(tmp_path / shard_name(index), [Document(str(index), "", "text")])
    assert [path.name for path in shards(tmp_path)] == ["00000.parquet", "00001.parquet"]
    assert [document.id for document in read_documents(tmp_path)] == ["0", "1"]
    gone = Removed(Document("2", "", "short"), "gopher_quality", "fewer than 50 words")
    write_removed_shard(tmp_path / "removed" / shard_name(0), [gone])
    assert list(read_removed(tmp_path / "removed")) == [gone]


def test_missing_columns_and_folders_are_named(tmp_path):
    parquet.write_table(pa.table({"text": ["a"]}), tmp_path / shard_name(0))
    with pytest.raises(ValueError, match="no column id, url, source"):
        read_shard(tmp_path / shard_name(0))
    with pytest.raises(ValueError, match="no such folder"):
        shards(tmp_path / "none")

"""Rows of a Hugging Face dataset by its name, streamed: nothing is downloaded beyond what is read.

Uses the `datasets` library (an extra) from version 4 on, which runs no code of a dataset's own. A name may also be a
folder of files, as for the library itself.
"""

from collections.abc import Iterator
from typing import Any

from athanor.data.corpora.config import Read


def num_dataset_shards(config: Read) -> int:
    """How many pieces of work the dataset divides into: its files, as a rule. Raises ValueError."""
    return int(_opened(config).num_shards)


def dataset_rows(config: Read, index: int, num_shards: int) -> Iterator[tuple[str, Any]]:
    """The rows of piece `index` of `num_shards` with their places."""
    stream = _opened(config)
    if num_shards > 1:
        stream = stream.shard(num_shards=num_shards, index=index)
    for number, row in enumerate(stream):
        yield f"row {number}", row


def _opened(config: Read) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ValueError("dataset: the library is not installed; pip install 'athanor[huggingface]'") from error
    if int(datasets.__version__.split(".")[0]) < 4:
        raise ValueError(
            f"dataset: needs datasets 4 or newer, which runs no foreign code; found {datasets.__version__}"
        )
    try:
        return datasets.load_dataset(
            config.dataset,
            config.dataset_config or None,
            split=config.dataset_split,
            revision=config.dataset_revision or None,
            streaming=True,
        )
    except Exception as error:  # unknown names and splits, no network: each its own type
        raise ValueError(f"dataset {config.dataset}: {str(error).strip().splitlines()[0][:300]}") from error

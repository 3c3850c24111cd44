"""datatrove's side of benchmarks/data.py, run by an interpreter that has datatrove; tasks as in data_chain.py.

The chain is that of its `examples/fineweb.py`: WARC reader, address, trafilatura, language, Gopher repetition, Gopher
quality, C4, FineWeb, personal data, writer, MinHash signature (64 bits, SHA-1), one process after another's output
and no executor around them. Its language model, which it downloads, is replaced by the compressed one that both sides
then use. The block lists are read and spaCy is loaded before anything is measured.
"""

import json
import logging
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TLDEXTRACT_CACHE", tempfile.mkdtemp())
logging.disable(logging.CRITICAL)

import trafilatura  # noqa: E402, F401 - fails here rather than silently on every page
from datatrove.data import Document  # noqa: E402
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature  # noqa: E402
from datatrove.pipeline.extractors import Trafilatura  # noqa: E402
from datatrove.pipeline.filters import (  # noqa: E402
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
    URLFilter,
)
from datatrove.pipeline.formatters import PIIFormatter  # noqa: E402
from datatrove.pipeline.readers import WarcReader  # noqa: E402
from datatrove.pipeline.writers import ParquetWriter  # noqa: E402
from datatrove.utils import lid  # noqa: E402
from datatrove.utils.hashing import HashConfig  # noqa: E402
from loguru import logger  # noqa: E402

logger.remove()
CONFIG = MinhashConfig(hash_config=HashConfig(hash_fc="sha1", precision=64))
URLS = URLFilter()  # its lists take seconds to read and stay


def chain(pages, language_model, timeout=30.0):
    """WARC files to kept Parquet and signatures; seconds by step as datatrove counts them (wall)."""
    lid.cached_asset_path_or_download = lambda *_, **__: language_model
    out = tempfile.mkdtemp()
    steps = [
        WarcReader(pages, glob_pattern="*.warc.gz"),
        URLS,
        Trafilatura(favour_precision=True, timeout=timeout),
        LanguageFilter(languages="en"),
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
        PIIFormatter(),
        ParquetWriter(out + "/documents", compression="zstd"),
        MinhashDedupSignature(out + "/signatures", CONFIG),
    ]
    for step in steps:
        step.stats = type(step.stats)(step.name)
    wall, start = time.perf_counter(), _cpu_seconds()
    documents = None
    for step in steps:
        documents = step(documents, 0, 1)
    for _ in documents or ():
        pass
    used, wall = _cpu_seconds() - start, time.perf_counter() - wall
    stages = {step.name.split(" ", 1)[-1]: step.stats.time_stats.total for step in steps[:-1]}
    stages["MinHash"] = wall - sum(stages.values())  # its own clock runs while it waits for the steps before it
    stats = steps[-1].stats.stats
    kept = stats["total"].total if "total" in stats else 0
    shutil.rmtree(out)
    return {"cpu": used, "wall": wall, "stages": stages, "kept": int(kept), "peak_bytes": _peak_bytes()}


def heuristics(texts):
    """Gopher, C4 and FineWeb over the texts in a JSON file, each text up to the rule that removes it."""
    documents = [Document(text=text, id="") for text in json.loads(Path(texts).read_text(encoding="utf-8"))]
    steps = [
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]
    start = _cpu_seconds()
    kept = sum(all(step.filter(document) is True for step in steps) for document in documents)
    return {"cpu": _cpu_seconds() - start, "kept": kept}


def minhash(texts):
    """Signatures of the texts in a JSON file, text in."""
    loaded = json.loads(Path(texts).read_text(encoding="utf-8"))
    step = MinhashDedupSignature(tempfile.mkdtemp(), CONFIG)
    start = _cpu_seconds()
    for text in loaded:
        step.get_signature(step.get_shingles(text))
    return {"cpu": _cpu_seconds() - start}


def _cpu_seconds():
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_bytes():
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main():
    answers, sys.stdout = sys.stdout, sys.stderr
    tasks = {"chain": chain, "heuristics": heuristics, "minhash": minhash}
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps(tasks[task.pop("task")](**task)), file=answers, flush=True)


if __name__ == "__main__":
    main()

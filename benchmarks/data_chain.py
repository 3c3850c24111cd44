"""Our side of benchmarks/data.py, a process of its own: tasks come in as JSON lines, measures go out.

The chain is what a recipe runs: `data.extract` and `data.filter` with FineWeb's settings, each writing Parquet, then
the MinHash signature of every kept document. Seconds are of user and system time, children included.
"""

import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from athanor.core.config import from_dict
from athanor.core.documents import Document, read_documents
from athanor.data import extract, filter, rules
from athanor.data.config import Extract, Filter
from athanor.data.dedup.config import MinHash
from athanor.data.dedup.minhash import hash_functions, shingles_of, signature
from athanor.data.warc import read_pages, warc_files

READ_TIMES = 10  # a few MB are read in less time than the clock can tell
FINEWEB = {"c4": {"terminal_mark": False}, "fineweb": {}}


def chain(pages: str, method: str, workers: int = 1) -> dict[str, Any]:
    """WARC files to kept Parquet and signatures; seconds by stage."""
    out = Path(tempfile.mkdtemp())
    seconds: dict[str, float] = {}
    wall = time.perf_counter()

    def timed(stage: str, run: Callable[[], Any]) -> Any:
        start = _cpu_seconds()
        result = run()
        seconds[stage] = _cpu_seconds() - start
        return result

    config = from_dict(Extract, {"method": method, "workers": workers}, "benchmark")
    extracted = timed("read and extract", lambda: extract.run(config, {"pages": Path(pages)}, out / "extract"))
    chosen = from_dict(Filter, {**FINEWEB, "workers": workers}, "benchmark")
    kept = timed("filter", lambda: filter.run(chosen, {"documents": out / "extract"}, out / "filter"))
    timed("signature", lambda: _signatures(out / "filter"))
    wall = time.perf_counter() - wall
    by_rule = _seconds_by_rule(out / "extract") if workers == 1 else {}
    shutil.rmtree(out)
    return {
        "cpu": sum(seconds.values()),
        "wall": wall,
        "stages": seconds,
        "rules": by_rule,
        "documents": extracted["documents"],
        "kept": kept["documents_out"],
        "peak_bytes": _peak_bytes(),
    }


def minhash(texts: str) -> dict[str, Any]:
    """Signatures of the texts in a JSON file, text in."""
    loaded = json.loads(Path(texts).read_text(encoding="utf-8"))
    config = MinHash()
    functions = hash_functions(config)
    start = _cpu_seconds()
    for text in loaded:
        signature(shingles_of(text, config), functions)
    return {"cpu": _cpu_seconds() - start}


def heuristics(texts: str) -> dict[str, Any]:
    """Gopher, C4 and FineWeb over the texts in a JSON file, each text up to the rule that removes it."""
    documents = [Document("", "", text) for text in json.loads(Path(texts).read_text(encoding="utf-8"))]
    off = {"url": None, "language": None, "pii": None}
    chosen = rules.rules_of(from_dict(Filter, {**FINEWEB, **off}, "benchmark"))
    start = _cpu_seconds()
    kept = sum(isinstance(rules.judge(document, chosen, {}), Document) for document in documents)
    return {"cpu": _cpu_seconds() - start, "kept": kept}


def read(pages: str) -> dict[str, Any]:
    """The pages of WARC files, bodies decoded, as often as READ_TIMES."""
    start = time.process_time()
    size = 0
    for path in warc_files(Path(pages)) * READ_TIMES:
        size += sum(len(page.body) for page in read_pages(path, print))
    return {"cpu": time.process_time() - start, "bytes": size}


def read_warcio(pages: str) -> dict[str, Any]:
    """The same with warcio."""
    from warcio.archiveiterator import ArchiveIterator

    start = time.process_time()
    size = 0
    for path in warc_files(Path(pages)) * READ_TIMES:
        with path.open("rb") as file:
            size += sum(
                len(record.content_stream().read()) for record in ArchiveIterator(file) if record.rec_type == "response"
            )
    return {"cpu": time.process_time() - start, "bytes": size}


def _signatures(folder: Path) -> None:
    config = MinHash()
    functions = hash_functions(config)
    found = (shingles_of(document.text, config) for document in read_documents(folder / "documents"))
    signatures = [signature(shingles, functions) for shingles in found if len(shingles)]
    np.save(folder / "signatures.npy", np.array(signatures, np.uint64))


def _seconds_by_rule(folder: Path) -> dict[str, float]:
    """CPU seconds of each rule in one more pass, which costs the clock twice for every rule and document."""
    seconds: dict[str, float] = {}

    def clocked(name: str, rule: rules.Rule) -> rules.Rule:
        def apply(document: Any) -> Any:
            start = time.process_time()
            result = rule(document)
            seconds[name] = seconds.get(name, 0.0) + time.process_time() - start
            return result

        return apply

    chosen = rules.rules_of(from_dict(Filter, FINEWEB, "benchmark"))
    chosen = {name: clocked(name, rule) for name, rule in chosen.items()}
    for document in read_documents(folder / "documents"):
        rules.judge(document, chosen, {})
    return seconds


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_bytes() -> int:
    """Of the largest process so far, this one or a child."""
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "chain": chain,
    "heuristics": heuristics,
    "minhash": minhash,
    "read": read,
    "read_warcio": read_warcio,
}


def main() -> None:
    """Answer until the input ends; what is printed on the way goes to the errors."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps(TASKS[task.pop("task")](**task)), file=answers, flush=True)


if __name__ == "__main__":
    main()

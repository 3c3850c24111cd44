"""Looking for questions of benchmarks beside datatrove: `python benchmarks/decontaminate.py [--peer PYTHON]`.

The texts of oracle_dev.jsonl.gz against the questions in fidelity/evaluation (ATHANOR_FIDELITY). Timed is what every
document costs: words, runs of 13, the search in an index of equal size; not the making of the index. Peers pull in
spaCy and may live in a Python of their own (`--peer`), which then times itself on every tenth text. Alternating
rounds, CPU seconds; prints MB per CPU second and the ratio.
"""

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

FIDELITY = Path(os.environ.get("ATHANOR_FIDELITY", Path(__file__).parents[2] / "shared" / "fidelity"))
QUESTIONS = ("mmlu", "gsm8k", "hellaswag", "arc", "boolq", "piqa", "lambada", "siqa", "humaneval")
ROUNDS = 3
PEER_PART = 10  # one in so many texts; it is slow

PEER = """
import sys, time, json, numpy as np
from datatrove.data import Document
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
folder, num_runs = sys.argv[1], int(sys.argv[2])
config = NGramsDecontConfig(n_grams=13)
runs = np.random.default_rng(0).integers(0, 2**63, num_runs)
runs.astype(config.hash_config.np_descr).tofile(folder + "/bench.index.hashes")
search = NGramsDecontFilter(folder, config)
documents = [Document(text, str(i)) for i, text in enumerate(json.load(open(folder + "/texts.json")))]
search.filter(documents[0])
start = time.process_time()
for document in documents:
    search.filter(document)
print("SECONDS", time.process_time() - start)
"""


def main() -> None:
    from athanor.data.benchmark_items import read_items
    from athanor.data.contamination import find_runs, index_of
    from athanor.data.word_hashes import words_of

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=sys.executable, help="a Python with datatrove")
    options = parser.parse_args()
    with gzip.open(FIDELITY / "data" / "oracle_dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        next(lines)
        texts = [text for line in lines if (text := json.loads(line)["text"])]
    files = [path for name in QUESTIONS for path in sorted((FIDELITY / "evaluation" / name).glob("*.jsonl*"))]
    index = index_of((item for path in files for item in read_items(path)), ngram_words=13, min_words=8)
    print(
        f"{len(texts)} texts, {_megabytes(texts):.1f} MB; {len(index.items):,} questions, {len(index.lengths):,} runs"
    )

    def ours() -> float:
        start = time.process_time()
        for text in texts:
            find_runs(index, words_of(text))
        return _megabytes(texts) / (time.process_time() - start)

    part = texts[::PEER_PART]

    def peer() -> float:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "texts.json").write_text(json.dumps(part), encoding="utf-8")
            command = [options.peer, "-c", PEER, folder, str(len(index.lengths))]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return _megabytes(part) / float(said.split("SECONDS")[1])

    ours()  # compiles the kernels
    rates: dict[str, list[float]] = {"athanor": [], "datatrove": []}
    contenders: tuple[tuple[str, Callable[[], float]], ...] = (("athanor", ours), ("datatrove", peer))
    for _ in range(ROUNDS):
        for name, run in contenders:
            rates[name].append(run())
    for name, found in rates.items():
        print(f"{name:10s} {statistics.median(found):8.2f} MB/s ({min(found):.2f} to {max(found):.2f})")
    ratios = [a / b for a, b in zip(rates["athanor"], rates["datatrove"], strict=True)]
    print(f"ratio {statistics.median(ratios):.0f} ({min(ratios):.0f} to {max(ratios):.0f})")


def _megabytes(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


if __name__ == "__main__":
    main()

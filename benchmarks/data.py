"""The data engine beside datatrove: WARC files to kept Parquet and MinHash signatures, the same pages for both.

    python benchmarks/data.py --peer VENV/bin/python [--html FOLDER ...] [--pages N] [--quick] [--json FILE]

datatrove lives in an environment of its own, since its fastText binding and its trafilatura exclude ours:

    python -m venv VENV && VENV/bin/pip install "datatrove[io,processing]==0.10.1" spacy lxml_html_clean

Without --peer only our side is measured. Pages: see data_pages.py; 600 of them in one file, and in four for the
workers. Both sides stay loaded and are warmed up on a few pages; then all take turns, so that a machine that slows
down slows all of them. Compared is user and system time, children included; wall time stands beside it. Also measured:
the heuristics alone, signatures alone, reading WARC beside warcio, one worker beside two, the share of each stage, and
the peak memory of a worker.
"""

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from data_pages import write_warc_files
from side_by_side import OURS, Row, parser_of, report, rows_of
from side_process import Side

from athanor.core.documents import read_documents
from athanor.data import extract
from athanor.data.config import Extract
from athanor.data.language import model_path

METHODS = ("fast", "native", "precise")
TARGETS = {"fast": 10, "native": 10, "precise": 4}
NUM_FILES = 4
ROUNDS = 3


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has datatrove 0.10.1")
    parser.add_argument("--html", type=Path, action="append", default=[], metavar="FOLDER", help="pages to take")
    parser.add_argument("--pages", type=int, help="how many pages (600, with --quick 100)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="extractors to measure")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    num_pages = chosen.pages or (100 if chosen.quick else 600)
    documentation = sorted(Path("/usr/share/doc").glob("*"))
    folders = chosen.html or [folder for folder in documentation if any(folder.rglob("*.html"))]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        num_pages = write_warc_files(work / "pages", folders, num_pages, 1)
        write_warc_files(work / "parts", folders, num_pages, NUM_FILES)
        write_warc_files(work / "warm", folders, min(20, num_pages), 1)
        size = sum(path.stat().st_size for path in (work / "pages").iterdir())
        note = f"{num_pages} pages, {size / 1e6:.1f} MB of WARC"
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        ours, peer = (
            Side([python, str(Path(__file__).with_name(script))], os.environ | single) if python else None
            for python, script in ((sys.executable, "data_chain.py"), (chosen.peer, "data_peer.py"))
        )
        assert ours
        rows = chain_rows(ours, peer, work, chosen.methods, chosen.rounds, note)
        rows += text_rows(ours, peer, work, chosen.rounds)
        rows += reading_rows(ours, work, chosen.rounds, note)
        two_workers(ours, work, chosen.methods[0])
    report(rows, ["athanor", "fastwarc", "resiliparse", "trafilatura", "numba", "warcio"], chosen.json)


def chain_rows(ours: Side, peer: Side | None, work: Path, methods: list[str], rounds: int, note: str) -> list[Row]:
    """The whole chain with each extractor, datatrove's between them in every round."""
    model = str(model_path())
    for method in methods:
        ours.do("chain", pages=str(work / "warm"), method=method)
    if peer:
        peer.do("chain", pages=str(work / "warm"), language_model=model)
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in [*methods, *(["datatrove"] if peer else [])]}
    for turn in range(rounds):
        print(f"chain: round {turn + 1} of {rounds}", file=sys.stderr)
        for method in methods:
            measured[method].append(ours.do("chain", pages=str(work / "pages"), method=method))
        if peer:
            measured["datatrove"].append(peer.do("chain", pages=str(work / "pages"), language_model=model))
    for name, runs in measured.items():
        _print_stages(name, runs)
    rows: list[Row] = []
    for method in methods:
        times = {OURS: [run["cpu"] for run in measured[method]]}
        if peer:
            times["datatrove"] = [run["cpu"] for run in measured["datatrove"]]
        rows += rows_of(f"chain, {method} (target {TARGETS[method]}x)", times, note)
    return rows


def text_rows(ours: Side, peer: Side | None, work: Path, rounds: int) -> list[Row]:
    """The heuristics alone and the signatures alone, of texts as the quickest method extracts them."""
    extract.run(Extract(time_limit_seconds=None), {"pages": work / "pages"}, work / "extracted")
    texts = [document.text for document in read_documents(work / "extracted" / "documents")]
    texts = [text for text in texts if len(text.split()) > 50]
    for name, part in (("all", texts), ("some", texts[:5])):
        (work / f"{name}.json").write_text(json.dumps(part), encoding="utf-8")
    sides = {OURS: ours, **({"datatrove": peer} if peer else {})}
    note = f"{len(texts)} texts, {sum(map(len, texts)) / 1e6:.1f} M characters"
    rows: list[Row] = []
    for task, title in (("heuristics", "Gopher, C4, FineWeb"), ("minhash", "signatures 14 x 8 (target 50x)")):
        for side in sides.values():
            side.do(task, texts=str(work / "some.json"))
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, side in sides.items():
                times[name].append(side.do(task, texts=str(work / "all.json"))["cpu"])
        rows += rows_of(title, times, note)
    return rows


def reading_rows(ours: Side, work: Path, rounds: int, note: str) -> list[Row]:
    """Reading WARC files beside warcio, bodies decoded and decompressed by both."""
    tasks = {OURS: "read", "warcio": "read_warcio"}
    sizes = {name: ours.do(task, pages=str(work / "pages"))["bytes"] for name, task in tasks.items()}
    assert len(set(sizes.values())) == 1, f"bodies differ: {sizes}"
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(max(3, rounds)):
        for name, task in tasks.items():
            times[name].append(ours.do(task, pages=str(work / "pages"))["cpu"])
    return rows_of("read WARC (target 2x)", times, note)


def two_workers(ours: Side, work: Path, method: str) -> None:
    """Print the wall time of one worker beside two, which means something on two idle cores only."""
    walls = {
        n: [ours.do("chain", pages=str(work / "parts"), method=method, workers=n) for _ in range(2)] for n in (1, 2)
    }
    one, two = (min(run["wall"] for run in walls[n]) for n in (1, 2))
    print(f"workers, {method}: 1 takes {one:.1f} s, 2 take {two:.1f} s (wall): {one / two:.2f}x (target 1.8x)\n")


def _print_stages(name: str, runs: list[dict[str, Any]]) -> None:
    """The shares of one contender's stages, and of the filter's rules."""
    middle = sorted(runs, key=lambda run: float(run["cpu"]))[len(runs) // 2]
    wall = statistics.median(run["wall"] for run in runs)
    peak = max(run["peak_bytes"] for run in runs) / 1e6
    print(f"{name}: {middle['cpu']:.2f} s CPU, {wall:.2f} s wall, {middle['kept']} kept, peak {peak:,.0f} MB a process")
    for group in ("stages", "rules"):
        total = sum(middle.get(group, {}).values())
        for stage, seconds in middle.get(group, {}).items():
            indent = "  " if group == "stages" else "    "
            print(f"{indent}{stage:<24} {seconds:8.3f} s {seconds / total:7.1%}")
    print()


if __name__ == "__main__":
    main()

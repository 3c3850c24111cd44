"""`athanor data stats`: what folders of documents hold, as tables in the terminal or as JSON."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from athanor.core.console import short_number
from athanor.core.mixture import read_mixture
from athanor.data.describe import OTHERS, Description, top
from athanor.data.look.config import Stats
from athanor.data.look.places import Result, kept_rows, removed_rows, result_at, results_of_run

if TYPE_CHECKING:
    from rich.console import Console

BAR_CHARACTERS = 30
HOSTS_SHOWN = 10


def main(options: Stats) -> int:
    """Print what each folder holds."""
    results: list[Result] = []
    for folder in options.folders:
        results += results_of_run(folder) if (folder / "recipe.yaml").exists() else [result_at(folder)]
    found = []
    for result in results:
        figures = statistics(result)
        found.append(figures)
        if not options.json:
            show(figures)
    if options.json:
        print(json.dumps(found if len(found) != 1 else found[0], ensure_ascii=False, indent=2))
    return 0


def statistics(result: Result) -> dict[str, Any]:
    """What a result holds: for each part its description; what was removed, by rule and reason."""
    parts = {}
    for part in result.kept:
        described = Description()
        for document in kept_rows(result, part):
            described.add(document)
        parts[part or "documents"] = described.metric()
    reasons: Counter[str] = Counter()
    gone = Description()
    for row in removed_rows(result):
        reasons[f"{row.removed_by}: {row.reason}"] += 1
        gone.add(row.document)
    figures: dict[str, Any] = {"folder": str(result.folder), "step": result.name, "kind": result.kind, "parts": parts}
    mixture = read_mixture(result.folder)
    if mixture:
        figures["tokens"] = mixture.tokens
        figures["tokens_from"] = sorted({source.tokens_from for source in mixture.sources.values()})
    if result.has_removed:
        noted = result.manifest.metrics.get("removed") if result.manifest else None
        if isinstance(noted, dict) and len(noted) < len(reasons) and sum(noted.values()) == gone.documents:
            reasons = Counter(noted)  # without the values and the names that differ from document to document
        figures["removed"] = {"documents": gone.documents, "bytes": gone.bytes, "reasons": top(reasons, 40)}
    return figures


def show(figures: dict[str, Any]) -> None:
    """Print one result's figures."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    kind = f" ({figures['kind']})" if figures["kind"] else ""
    console.print(f"\n{figures['step']}{kind}  {figures['folder']}", style="bold", markup=False)
    for part, described in figures["parts"].items():
        _show_part(console, part, described, figures.get("tokens", {}).get(part), figures.get("tokens_from", []))
    if "removed" in figures:
        removed = figures["removed"]
        share = removed["documents"] / max(1, removed["documents"] + _num_kept(figures))
        console.print(f"  removed: {removed['documents']:,} documents ({share:.1%}), {_bytes(removed['bytes'])}")
        _bars(console, list(removed["reasons"].items()))


def _show_part(
    console: "Console", part: str, described: dict[str, Any], tokens: int | None, tokens_from: Sequence[str]
) -> None:
    line = f"  {part}: {described['documents']:,} documents, {_bytes(described['bytes'])}"
    if tokens is not None:
        line += f", {short_number(tokens)} tokens ({', '.join(tokens_from)})"
    elif "tokens_noted" in described:
        noted = described["tokens_noted"]
        line += f", {short_number(noted['tokens'])} tokens noted in {noted['documents']:,} of them"
    console.print(line, markup=False)
    if not described["documents"]:
        return
    lengths = described["length_histogram"]
    console.print("  lengths")
    _bars(console, [(f"from {_bytes(low)}", n) for low, n in zip(lengths["edges"], lengths["counts"], strict=False)])
    if "score_histogram" in described:
        scores = described["score_histogram"]
        console.print("  quality")
        _bars(console, [(f"from {low:.2f}", n) for low, n in zip(scores["edges"], scores["counts"], strict=False)])
    for title, key in (("languages", "languages"), ("domains", "domains"), ("sources", "sources")):
        if len(described.get(key, {})) > 1 or (key == "languages" and "unknown" not in described[key]):
            console.print(f"  {title}")
            _bars(console, list(described[key].items()))
    console.print(f"  hosts: {described['num_hosts']:,}" + (" or more" if described.get("hosts_cut") else ""))
    _bars(console, list(described["hosts"].items())[:HOSTS_SHOWN], described["documents"])


def _bars(console: "Console", rows: Sequence[tuple[str, int]], whole: int | None = None) -> None:
    """One line for each row: name, a bar on a common scale, count and share of `whole` (none: of the rows' sum)."""
    if not rows:
        return
    width = min(60, max(len(name) for name, _ in rows))
    named = [count for name, count in rows if name != OTHERS]
    largest, total = max(named, default=1), whole or sum(count for _, count in rows)
    for name, count in rows:
        eighths = round(8 * BAR_CHARACTERS * count / largest) if largest and name != OTHERS else 0
        bar = "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
        shown = name if len(name) <= width else name[: width - 1] + "…"
        console.print(
            f"    {shown:{width}s} {bar:{BAR_CHARACTERS}s} {count:>10,} {count / max(1, total):>6.1%}", markup=False
        )


def _num_kept(figures: dict[str, Any]) -> int:
    return sum(int(part["documents"]) for name, part in figures["parts"].items() if name != "high_quality")


def _bytes(size: float) -> str:
    return f"{short_number(size)}B"

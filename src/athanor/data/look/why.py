"""`athanor data why ID`: one document through every step of a run, its text before and after each."""

import difflib
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from athanor.data.look.config import Why
from athanor.data.look.measured import Measured
from athanor.data.look.places import in_order, newest_run, result_at, results_of_run
from athanor.data.look.trace import RuleStep, Stop, resolved, trace

EXCERPT_LINES, EXCERPT_CHARACTERS = 4, 100  # of the first text
VALUE_CHARACTERS = 200  # of a metadata value


def main(options: Why) -> int:
    """Print the way of the document."""
    if options.folders:
        results = in_order([result_at(folder) for folder in options.folders])
    else:
        results = results_of_run(options.run or newest_run())
    name, url = resolved(results, options.document)
    stops = list(trace(results, name, not options.no_values))
    if options.json:
        print(json.dumps({"id": name, "url": url, "steps": [asdict(s) for s in stops]}, ensure_ascii=False, indent=2))
        return 0
    print(f"{name}  {url}")
    for line in told(stops, options.lines):
        print(line)
    return 0


def told(stops: list[Stop], lines: int) -> Iterator[str]:
    """The way in words, step after step."""
    before: Stop | None = None
    for stop in stops:
        yield ""
        yield f"{stop.step} ({stop.kind})  {stop.folder}" if stop.kind else stop.folder
        yield f"  {_outcome(stop)}"
        for key, old, new in _noted(before, stop):
            yield f"  notes {key}: {new}" if old is None else f"  notes {key}: {old} -> {new}"
        for remark in stop.remarks:
            yield f"  {remark}"
        if stop.rules:
            for step in stop.rules:
                yield from _rule(step, lines)
        elif before is None:
            yield f"  its text has {len(stop.document.text):,} characters and begins"
            rows = [row for row in stop.document.text.splitlines() if row.strip()]
            yield from (f"    {row[:EXCERPT_CHARACTERS]}" for row in rows[:EXCERPT_LINES])
        else:
            yield from difference(before.document.text, stop.document.text, lines, "  ")
        before = stop


def difference(before: str, after: str, lines: int, indent: str) -> Iterator[str]:
    """A unified difference of two texts without its heading, at most `lines` long (0: whole)."""
    if before == after:
        return
    rows = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1))[2:]
    if not rows:
        yield f"{indent}the text changed in its white space only"
    shown = rows[:lines] if lines else rows
    yield from (f"{indent}{row}" for row in shown)
    if len(shown) < len(rows):
        yield f"{indent}... {len(rows) - len(shown)} more lines (--lines 0 shows all)"


def _outcome(stop: Stop) -> str:
    if stop.removed_by:
        return f"REMOVED by {stop.removed_by}: {stop.reason}"
    if "validation" in stop.places:
        return "held out for validation"
    if stop.passes:
        times = "once" if stop.passes == 1 else f"{stop.passes} times"
        return f"trained on {times}" + (", in the high-quality subset too" if "high_quality" in stop.places else "")
    return "kept"


def _noted(before: Stop | None, stop: Stop) -> Iterator[tuple[str, str | None, str]]:
    """What of language and metadata is new or changed."""
    old: dict[str, Any] = {}
    if before is not None:
        old = {"language": before.document.language, **before.document.metadata}
    for key, value in {"language": stop.document.language, **stop.document.metadata}.items():
        if value != old.get(key) and value != "":
            shown = json.dumps(value, ensure_ascii=False)[:VALUE_CHARACTERS]
            known = old.get(key)
            yield key, None if known in (None, "") else json.dumps(known, ensure_ascii=False)[:VALUE_CHARACTERS], shown


def _rule(step: RuleStep, lines: int) -> Iterator[str]:
    outcome = "passed" if step.kept else f"REMOVED: {step.reason}"
    changed = ", ".join(f"{name} {count}" for name, count in step.changed.items())
    yield f"  {step.rule}: {outcome}{f' ({changed})' if changed else ''}"
    for value in step.values:
        yield f"    {_value(value)}"
    if step.kept:
        yield from difference(step.before, step.after, lines, "    ")


def _value(value: Measured) -> str:
    sign = ("<=" if value.passed else ">") if value.bound.startswith("max_") else (">=" if value.passed else "<")
    shown = "any" if value.value is None else f"{value.value:.4g}"
    mark = "" if value.passed else "   <- out of bounds"
    return f"{value.bound:34s} {shown:>8s} {sign} {value.limit:g}{mark}"

"""Time series of a step: one JSON object per line in `metrics.jsonl`.

Each row holds `step`, `seconds` since the step's first start, and the numbers logged. After a kill the
rows past the checkpoint are dropped, so that the series reads as if the step had never stopped.
TensorBoard receives the same numbers where it is installed and ATHANOR_TENSORBOARD is set.
"""

import json
import math
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from athanor.core.artifact import read_jsonl, write_jsonl

METRICS = "metrics.jsonl"


class Tracker:
    """Appends rows to `out/metrics.jsonl`; use as a context manager."""

    def __init__(self, out: Path, resume_step: int = -1) -> None:
        """`resume_step`: the last step that counts; later rows of an earlier attempt are dropped."""
        path = out / METRICS
        kept = [row for row in _whole_rows(path) if row["step"] <= resume_step]
        write_jsonl(path, kept)
        self._file = path.open("a", encoding="utf-8")
        self._start = time.monotonic() - (kept[-1]["seconds"] if kept else 0.0)
        self._board = _tensorboard(out)

    def log(self, step: int, **numbers: float | int | None) -> None:
        """Append one row; numbers that are None are left out, non-finite ones become null."""
        row: dict[str, Any] = {"step": step, "seconds": round(time.monotonic() - self._start, 3)}
        row |= {name: _json_number(value) for name, value in numbers.items() if value is not None}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in numbers.items():
                if value is not None:
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the file; later calls of `log` fail."""
        self._file.close()
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_metrics(out: Path) -> list[dict[str, Any]]:
    """The rows of `out/metrics.jsonl`; empty where the step logged nothing."""
    path = out / METRICS
    return list(read_jsonl(path)) if path.exists() else []


def _whole_rows(path: Path) -> list[dict[str, Any]]:
    """The rows before the first one that a kill cut short."""
    rows: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return rows


def _json_number(value: float | int) -> float | int | None:
    value = value if isinstance(value, int) else float(value)
    return value if math.isfinite(value) else None


def _tensorboard(out: Path) -> Any:
    if not os.environ.get("ATHANOR_TENSORBOARD"):
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "ATHANOR_TENSORBOARD is set but TensorBoard is missing: pip install 'athanor[track]'"
        ) from error
    return SummaryWriter(str(out / "_work" / "tensorboard"))

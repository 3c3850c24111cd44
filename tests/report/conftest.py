"""A fake run on disk, made once for all tests of the report."""

import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

from fake_run import write_fake_run  # noqa: E402

from athanor.report.config import Report  # noqa: E402
from athanor.report.page import run  # noqa: E402


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> folder of every step of a finished run."""
    return write_fake_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def page(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report on that run."""
    out = tmp_path_factory.mktemp("report")
    run(Report(), folders, out)
    return (out / "report.html").read_text(encoding="utf-8")

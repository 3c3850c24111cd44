"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A first example may compile a kernel for seconds, and machines that test are busy.
settings.register_profile("athanor", deadline=None)
settings.load_profile("athanor")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def fidelity() -> Path:
    """The folder of real reference data; the test is skipped, visibly, where it is absent."""
    folder = Path(os.environ.get("ATHANOR_FIDELITY", REPOSITORY.parent / "shared" / "fidelity"))
    if not folder.is_dir():
        pytest.skip(f"reference data not found at {folder}; set ATHANOR_FIDELITY")
    return folder

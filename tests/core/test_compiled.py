"""Promises of core/compiled.py."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
from athanor.core.compiled import kernel

@kernel
def total(numbers):
    result = 0
    for number in numbers:
        result += number
    return result

@kernel
def twice(number):
    return number * 2

@kernel
def fourfold(number):
    return twice(twice(number))

import numpy
print(total(numpy.arange(5)), fourfold(3))
"""


def run_script(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    if not script.exists():
        script.write_text(SCRIPT)
    return subprocess.run(
        [sys.executable, str(script)], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_a_kernel_is_kept_on_disk_for_the_next_process(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert run_script(tmp_path, NUMBA_CACHE_DIR=str(cache)).stdout.split() == ["10", "12"]
    kept = sorted(path.name for path in cache.rglob("*.nbc"))
    assert [name for name in kept if "total" in name] and [name for name in kept if "fourfold" in name]
    assert run_script(tmp_path, NUMBA_CACHE_DIR=str(cache)).stdout.split() == ["10", "12"]
    assert sorted(path.name for path in cache.rglob("*.nbc")) == kept


def test_without_a_writable_folder_kernels_work_and_one_notice_is_given(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the cache folder should be")  # a folder would not stop the root user
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "__pycache__").write_text("no folder either")
    result = run_script(
        tmp_path,
        NUMBA_CACHE_DIR=str(blocked / "numba"),
        HOME=str(blocked),
        XDG_CACHE_HOME=str(blocked),
    )
    assert result.stdout.split()[-2:] == ["10", "12"], result.stderr
    assert (result.stdout + result.stderr).count("NUMBA_CACHE_DIR") == 1

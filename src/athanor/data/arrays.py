"""Arrays that a step leaves for its next pass, in files that appear whole or not at all."""

from pathlib import Path
from typing import Any

from numpy import save
from numpy.typing import NDArray

from athanor.core.artifact import atomic_path


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write `array` as a .npy file."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        save(file, array, allow_pickle=False)

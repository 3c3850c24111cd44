"""The work of test_workers.py, in a module that a fresh process can import."""

from pathlib import Path


def count_letters(log: Path, shard: Path) -> dict[str, int]:
    with log.open("a") as file:
        file.write(f"{shard.name}\n")
    text = shard.read_text()
    if text == "bad":
        raise ValueError(f"{shard}: bad text")
    return {"letters": len(text)}

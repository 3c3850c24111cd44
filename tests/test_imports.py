"""Imports point one way, and importing configs loads no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import athanor
from athanor.pipeline.stages import KINDS

PACKAGE = Path(athanor.__file__).parent
LAYERS = (
    {"core"},
    {"crawl", "data", "tokenizer", "model"},
    {"train"},
    {"inference"},
    {"evaluation", "scaling"},
    {"posttrain"},
    {"arena"},
    {"serve"},
    {"pipeline"},
    {"cli"},
    {"reference"},
)
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}


def imported_rooms(path: Path) -> set[str]:
    """The rooms of athanor that a file imports, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("athanor.")}
    return rooms - {"__version__"}


def test_imports_point_one_way():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for other in imported_rooms(path) - {room}:
            if room == "__init__":
                allowed = False
            elif room == "report":
                allowed = other == "core"
            elif other == "report":
                allowed = False
            else:
                allowed = LAYER[other] < LAYER[room]
            if not allowed:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {other}")
    assert wrong == []


def test_configs_and_the_command_line_import_neither_torch_nor_numba():
    modules = sorted({kind.config.partition(":")[0] for kind in KINDS.values()})
    modules += ["athanor.cli", "athanor.serve.config"]
    program = f"import sys, importlib\nfor m in {modules!r}: importlib.import_module(m)\n"
    program += "print([m for m in ('torch', 'numba', 'pyarrow', 'transformers', 'fastapi') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_kind_of_step_has_a_function_and_a_config_with_defaults():
    from athanor.pipeline.stages import imported

    for kind in KINDS.values():
        assert callable(imported(kind.run)), kind
        if kind.name != "crawl":  # a crawl must name its source
            imported(kind.config)()

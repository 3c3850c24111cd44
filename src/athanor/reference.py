"""Texts made from the tables: the README's tree of stages and the reference of all commands and fields.

`python -m athanor.reference` writes them into README.md and docs/cli.md; a test keeps both equal
to what the code says.
"""

import ast
import dataclasses
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any, get_args, get_type_hints

from athanor.pipeline.stages import KINDS, STAGES, imported

BEGIN, END = "<!-- stages: made by athanor.reference -->", "<!-- end of stages -->"


def stage_tree() -> str:
    """The stages in order with their kinds of steps, as the README shows them."""
    width = max(len(stage.name) for stage in STAGES)
    lines = []
    for stage in STAGES:
        lines.append(f"{stage.name:{width}s}  {stage.summary}")
        kinds = [kind.name.rpartition(".")[2] for kind in stage.kinds if kind.name != stage.name]
        lines += textwrap.wrap(
            ", ".join(kinds), 90, initial_indent=" " * (width + 4), subsequent_indent=" " * (width + 4)
        )
    return "```\n" + "\n".join(lines) + "\n```"


def with_tree(readme: str) -> str:
    """`readme` with the tree of stages between its two marks."""
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if not pattern.search(readme):
        raise ValueError(f"README.md: no place for the stages; add the lines {BEGIN} and {END}")
    return pattern.sub(lambda _: f"{BEGIN}\n{stage_tree()}\n{END}", readme)


def command_reference() -> str:
    """Every command with its options, and every kind of step with its fields, as Markdown."""
    from athanor import cli  # the command line sits above; only this text needs to look up

    table = cli.commands()
    lines = [
        "# Commands and fields",
        "",
        "Made by `python -m athanor.reference`; `athanor COMMAND --help` says the same.",
        "A field marked *runtime* changes speed or place, never the result, and stays out of the fingerprint.",
        "",
        "## The pipeline, the model, documents, budgets and sizes",
    ]
    for command in cli.OTHER_COMMANDS:
        lines += ["", f"### athanor {command.words}", "", command.summary, ""]
        options = command.options.partition(":")[2]
        lines += [f"Options: those of {options}."] if options in KINDS else _field_lines(imported(command.options))
    lines += ["", "## Kinds of steps", "", "In a recipe under `kind:`; by themselves as the command named."]
    for kind in KINDS.values():
        words = next((each.words for each in table.values() if each.options.endswith(f":{kind.name}")), None)
        lines += ["", f"### {kind.name}", "", kind.summary]
        if words:
            lines[-1] += f" By itself: `athanor {words}`."
        elif kind.name == "crawl":
            lines[-1] += " By itself: `athanor crawl site`, `athanor crawl common-crawl`."
        wanted = [f"`{name}`" for name in kind.inputs]
        wanted += ["any finished step" if name == "*" else f"`{name}` (optional)" for name in kind.optional_inputs]
        if wanted:
            lines += ["", f"Inputs: {', '.join(wanted)}."]
        lines += ["", *_field_lines(imported(kind.config))]
    return "\n".join(lines) + "\n"


def field_texts(config: Any) -> dict[str, str]:
    """The text under each field of a dataclass, read from its source, bases included."""
    texts: dict[str, str] = {}
    for cls in reversed(config.__mro__):
        if "__dataclass_fields__" not in vars(cls):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        assert isinstance(body, ast.ClassDef)
        for statement, following in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and isinstance(following.value.value, str)
            ):
                texts[statement.target.id] = " ".join(following.value.value.split())
    return texts


def _field_lines(config: Any, prefix: str = "") -> list[str]:
    """One list entry per field, nested configs indented by their dotted names."""
    texts, hints = field_texts(config), get_type_hints(config)
    lines = []
    for entry in dataclasses.fields(config):
        nested = next(
            (t for t in (hints[entry.name], *get_args(hints[entry.name])) if dataclasses.is_dataclass(t)), None
        )
        marks = " *runtime*" if entry.metadata.get("runtime") else ""
        text = texts.get(entry.name, "")
        lines.append(f"- `{prefix}{entry.name}`{_default(entry)}{marks}{': ' + text if text else ''}")
        if nested is not None:
            lines += _field_lines(nested, f"{prefix}{entry.name}.")
    return lines


def _default(entry: "dataclasses.Field[Any]") -> str:
    if entry.default is not dataclasses.MISSING:
        value = entry.default
    elif entry.default_factory is not dataclasses.MISSING:
        value = entry.default_factory()
    else:
        return " (required)"
    if dataclasses.is_dataclass(value):
        return ""
    shown = str(value) if isinstance(value, Path) else repr(value)
    return f" = {shown if len(shown) <= 60 else shown[:57] + '...'}"


def write(root: Path) -> None:
    """Bring README.md and docs/cli.md of a checkout up to date."""
    readme = root / "README.md"
    readme.write_text(with_tree(readme.read_text(encoding="utf-8")), encoding="utf-8")
    (root / "docs" / "cli.md").write_text(command_reference(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[2])

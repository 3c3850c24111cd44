"""The command line: one table of commands. A command's code is imported when it runs, torch never for --help."""

import difflib
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import athanor
from athanor.core.config import ConfigError
from athanor.pipeline.stages import STAGES, imported

PROGRAM = "athanor"


@dataclass(frozen=True)
class Command:
    """One command of the program."""

    words: str
    """What is typed after the program's name."""
    summary: str
    options: str
    """module:Class of the dataclass whose fields are the options."""
    action: str
    """module:function that takes the options and gives the exit status, or None for 0."""
    positional: str = ""
    """The option that bare words in front of the flags belong to."""


_PIPELINE = "athanor.pipeline.commands"
PIPELINE_COMMANDS = (
    Command("run", "Run a recipe; finished steps are kept.", f"{_PIPELINE}:Run", f"{_PIPELINE}:run", "recipe"),
    Command(
        "status",
        "Show what is kept, unfinished or would run, and why.",
        f"{_PIPELINE}:Status",
        f"{_PIPELINE}:status",
        "recipe",
    ),
    Command(
        "why",
        "Tell why a step is kept or would run, and what it rests on.",
        f"{_PIPELINE}:Why",
        f"{_PIPELINE}:why",
        "words",
    ),
    Command(
        "diff",
        "Compare two results or two runs: config, inputs, metrics.",
        f"{_PIPELINE}:Diff",
        f"{_PIPELINE}:diff",
        "folders",
    ),
    Command(
        "gc",
        "List, and with --yes delete, results that the recipe no longer needs.",
        f"{_PIPELINE}:Gc",
        f"{_PIPELINE}:gc",
        "recipe",
    ),
)

_SERVE = "athanor.serve"
MODEL_COMMANDS = (
    Command("chat", "Talk to a model in the terminal.", f"{_SERVE}.config:Chat", f"{_SERVE}.chat:main", "model"),
    Command(
        "serve",
        "Serve a chat page and an OpenAI-compatible API.",
        f"{_SERVE}.config:Serve",
        f"{_SERVE}.api:main",
        "model",
    ),
    Command(
        "export", "Write a Hugging Face folder of a model.", f"{_SERVE}.config:Export", f"{_SERVE}.export:main", "model"
    ),
    Command(
        "tokenizer show",
        "Show how a text is cut into tokens, or replay the merges.",
        "athanor.tokenizer.config:Show",
        "athanor.tokenizer.show:main",
        "text",
    ),
    Command(
        "tokenizer compare",
        "Compare tokenizers: bytes per token, vocabulary use, numbers, white space.",
        "athanor.tokenizer.config:Compare",
        "athanor.tokenizer.compare:main",
        "words",
    ),
    Command(
        "tokenizer convert",
        "Write a tokenizer in the files of Hugging Face, tiktoken or GPT-2.",
        "athanor.tokenizer.config:Convert",
        "athanor.tokenizer.places:convert",
        "tokenizer",
    ),
    Command(
        "tokenizer verify",
        "Compare every byte of token shards with its hash.",
        "athanor.tokenizer.config:Verify",
        "athanor.tokenizer.verify:main",
        "folder",
    ),
    Command(
        "train profile",
        "Measure how well a model trains on this machine, and why not better: roofline, MFU, what each means brings.",
        "athanor.train.profile_config:Profile",
        "athanor.train.profile_command:main",
    ),
    Command(
        "posttrain mask",
        "Show which tokens of conversations are learned.",
        "athanor.posttrain.config:ShowMask",
        "athanor.posttrain.show_mask:main",
        "conversations",
    ),
    Command(
        "sft-study",
        "How much data fine-tuning needs: held-out loss and win rate against rows, by source.",
        "athanor.pipeline.single:posttrain.sft_study",
        "athanor.pipeline.single:run_kind",
        "files",
    ),
)

_LOOK = "athanor.data.look"
LOOK_COMMANDS = (
    Command(
        "data stats",
        "Show what folders of documents hold: sizes, reasons, lengths, languages, hosts.",
        f"{_LOOK}.config:Stats",
        f"{_LOOK}.stats:main",
        "folders",
    ),
    Command(
        "data sample",
        "Show random documents, kept or removed by a rule.",
        f"{_LOOK}.config:Sample",
        f"{_LOOK}.sample:main",
        "folder",
    ),
    Command(
        "data why",
        "Follow one document through every step and rule of a run.",
        f"{_LOOK}.config:Why",
        f"{_LOOK}.why:main",
        "document",
    ),
    Command(
        "data estimate",
        "From measured rates to the hours, machines, dollars and storage of a large crawl.",
        "athanor.data.estimate:Estimate",
        "athanor.data.estimate:main",
    ),
)

SCALING_COMMANDS = (
    Command(
        "scaling sweep",
        "Run a ladder of small models; predict each larger run before it starts.",
        "athanor.pipeline.sweep:Sweep",
        "athanor.pipeline.sweep:main",
        "recipe",
    ),
    Command(
        "scaling coordinate-check",
        "Show that activations keep their size over widths with muP, and grow without.",
        "athanor.train.config:CoordinateCheck",
        "athanor.train.coordinate_check:main",
    ),
    Command(
        "plan",
        "From a budget to a model: size, tokens, layout, days, dollars, energy, loss.",
        "athanor.scaling.planner_config:PlanCommand",
        "athanor.scaling.plan_command:main",
    ),
)
OTHER_COMMANDS = (*PIPELINE_COMMANDS, *MODEL_COMMANDS, *LOOK_COMMANDS, *SCALING_COMMANDS)


def commands() -> dict[str, Command]:
    """Every command by its words: those named above, and one for each kind of step."""
    table = {command.words: command for command in OTHER_COMMANDS}
    single = "athanor.pipeline.single"
    table["crawl site"] = Command(
        "crawl site", "Crawl a site politely into WARC files.", f"{single}:CrawlSite", f"{single}:crawl_site", "urls"
    )
    table["crawl common-crawl"] = Command(
        "crawl common-crawl",
        "Download files of a Common Crawl release.",
        f"{single}:CrawlCommonCrawl",
        f"{single}:crawl_common_crawl",
        "crawl",
    )
    for stage in STAGES:
        for kind in stage.kinds:
            if kind.name != "crawl":
                words = kind.name.replace(".", " ").replace("_", "-")
                table[words] = Command(
                    words, kind.summary, f"{single}:{kind.name}", f"{single}:run_kind", kind.positional
                )
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv`; returns the exit status."""
    try:
        return _do(list(sys.argv[1:] if argv is None else argv))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # a closed pager is no error
        return 0


def _do(words: list[str]) -> int:
    table = commands()
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview(table), flush=True)
        return 0
    if words[0] in ("-V", "--version"):
        print(f"{PROGRAM} {athanor.__version__}")
        return 0
    found = next((name for name in (" ".join(words[:2]), words[0]) if name in table), None)
    if found is not None:
        return _call(table[found], words[len(found.split()) :])
    groups = {name.split()[0] for name in table}
    meant = [name for name in table if name.split()[1:] == words[:1]] if words[0] not in groups else []
    if len(meant) == 1:  # `athanor sft` is `athanor posttrain sft`: no other group has one of that name
        return _call(table[meant[0]], words[1:])
    return _unknown(words, table, meant)


def overview(table: dict[str, Command]) -> str:
    """The text of `athanor --help`."""
    width = max(len(words) for words in table)

    def lines(names: Sequence[str]) -> list[str]:
        return [f"  {name:{width}s}  {table[name].summary}" for name in names]

    text = [f"{PROGRAM} {athanor.__version__}: from a raw web crawl to a chat assistant, every step traced.", ""]
    text += [f"usage: {PROGRAM} COMMAND [options]      {PROGRAM} COMMAND --help", "", "a whole recipe"]
    text += lines([command.words for command in PIPELINE_COMMANDS])
    text += ["", "a model", *lines([command.words for command in MODEL_COMMANDS])]
    text += ["", "documents", *lines([command.words for command in LOOK_COMMANDS])]
    text += ["", "budgets and sizes", *lines([command.words for command in SCALING_COMMANDS])]
    text += ["", "one step by itself, in the order of the work"]
    shown = {command.words for command in OTHER_COMMANDS}
    for stage in STAGES:
        text += lines([n for n in table if (n == stage.name or n.startswith(f"{stage.name} ")) and n not in shown])
    text += ["", f"begin with: {PROGRAM} run recipes/quickstart.yaml"]
    return "\n".join(text)


def _unknown(words: Sequence[str], table: dict[str, Command], meant: Sequence[str]) -> int:
    """Say what was typed and what was probably meant: one of `meant`, if there are any."""
    typed = " ".join(word for word in words[:2] if not word.startswith("-"))
    group = [name for name in table if name.startswith(f"{words[0]} ")]
    if group:
        rest = "" if len(words) < 2 or words[1] in ("-h", "--help") else f" has no {words[1]!r}"
        close = difflib.get_close_matches(typed, group, n=1, cutoff=0.5)
        hint = f"; did you mean '{PROGRAM} {close[0]}'?" if rest and close else ""
        print(f"{PROGRAM} {words[0]}{rest}{hint}\n", file=sys.stderr)
        width = max(len(name) for name in group)
        print("\n".join(f"  {PROGRAM} {name:{width}s}  {table[name].summary}" for name in group), file=sys.stderr)
        return 0 if not rest and len(words) > 1 else 2
    if meant:
        choices = " or ".join(f"'{PROGRAM} {name}'" for name in meant)
        print(f"error: {words[0]!r} may be {choices}; say which", file=sys.stderr)
        return 2
    names = {name.split()[-1]: name for name in table} | {name: name for name in table}
    close = difflib.get_close_matches(typed, names, n=1, cutoff=0.5) or difflib.get_close_matches(
        words[0], names, n=1, cutoff=0.5
    )
    hint = f"did you mean '{PROGRAM} {names[close[0]]}'? " if close else ""
    print(f"error: unknown command {typed!r}; {hint}'{PROGRAM} --help' lists all", file=sys.stderr)
    return 2


def _call(command: Command, arguments: list[str]) -> int:
    """Parse the options of `command` and do it; a user's mistake ends in one clear line."""
    try:
        options = parsed(command, arguments)
        action: Callable[[Any], int | None] = imported(command.action)
        return action(options) or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ValueError as error:
        if os.environ.get("ATHANOR_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2


def parsed(command: Command, arguments: list[str]) -> Any:
    """The options of `command` read from `arguments`."""
    import tyro

    if command.positional:
        arguments = _named(command.positional, arguments)
    _check_once(arguments)
    return tyro.cli(
        options_class(command),
        args=arguments,
        prog=f"{PROGRAM} {command.words}",
        description=_description(command),
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff),
    )


def _check_once(arguments: Sequence[str]) -> None:
    """Raises ConfigError for an option that is given twice, of which only the last would count."""
    given = Counter(word.partition("=")[0].replace("_", "-") for word in arguments if word.startswith("--"))
    for option, times in given.items():
        if times > 1 and option != "--set":
            raise ConfigError(f"{option} is given {times} times; give it once, with all its values behind it")


def options_class(command: Command) -> Any:
    """The dataclass of a command's options; the ones of a step's kind are made from its config."""
    module, _, name = command.options.partition(":")
    found = getattr(import_module(module), name, None)
    return found if found is not None else imported("athanor.pipeline.single:options_of_kind")(name)


def _named(option: str, arguments: list[str]) -> list[str]:
    """`arguments` with the bare words in front of the first flag given to `option`."""
    count = next((i for i, word in enumerate(arguments) if word.startswith("-") and len(word) > 1), len(arguments))
    return [f"--{option}", *arguments[:count], *arguments[count:]] if count else arguments


def _description(command: Command) -> str:
    if not command.positional:
        return command.summary
    return f"{command.summary} Bare words before the first option are read as --{command.positional}."


if __name__ == "__main__":
    sys.exit(main())

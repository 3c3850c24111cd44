"""One step by itself, from the command line: `athanor data dedup --documents IN --out OUT`.

The result is a folder with a manifest like any step's, so that reports and recipes can trace it; an input
that was not made by a step is identified by the hashes of its files.
"""

import dataclasses
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import tyro

from athanor.core.artifact import WORK, canonical_json, read_json, read_manifest, result_files, write_json
from athanor.core.config import ConfigError, from_dict, to_dict
from athanor.core.console import say
from athanor.core.environment import without_secrets
from athanor.crawl.config import CommonCrawl, Crawl, Site
from athanor.pipeline import lock
from athanor.pipeline.content import ContentHashes
from athanor.pipeline.execute import STEP, execute
from athanor.pipeline.launch import Launch
from athanor.pipeline.runner import headline, running_command
from athanor.pipeline.settings import lay_over, parted
from athanor.pipeline.stages import KINDS, Kind, imported
from athanor.pipeline.step import differences, fingerprint_of, identity_of, step_json

REFUSED = Path(WORK) / "refused.txt"  # what was wrong, after an attempt that ended in an error of the user's

Settings = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        name="set",
        metavar="FIELD=VALUE",
        help="Lay a value over the options, written as in a recipe (near=null, fineweb={}); may be given often.",
    ),
    tyro.conf.UseAppendAction,
]


@dataclass(frozen=True)
class CrawlSite:
    """Options of `athanor crawl site`."""

    site: Annotated[Site, tyro.conf.arg(name="")]
    out: Path = Path("pages")
    """Folder for the WARC files."""


@dataclass(frozen=True)
class CrawlCommonCrawl:
    """Options of `athanor crawl common-crawl`."""

    common_crawl: Annotated[CommonCrawl, tyro.conf.arg(name="")] = field(default_factory=CommonCrawl)
    out: Path = Path("pages")
    """Folder for the WARC files."""


def crawl_site(options: CrawlSite) -> int:
    """Crawl a site into `options.out`."""
    return _done(KINDS["crawl"], Crawl(site=options.site), {}, options.out)


def crawl_common_crawl(options: CrawlCommonCrawl) -> int:
    """Download files of a Common Crawl release into `options.out`."""
    return _done(KINDS["crawl"], Crawl(common_crawl=options.common_crawl), {}, options.out)


def options_of_kind(name: str) -> Any:
    """The dataclass of options for one step of kind `name`: its inputs, its config, and where to write."""
    kind = KINDS[name]
    config = imported(kind.config)
    fields: list[Any] = []
    for required, names in ((True, kind.inputs), (False, kind.optional_inputs)):
        for each in (word for word in names if word != "*"):
            text = f"Folder of the input '{each}': an earlier result, or files of the same format."
            hint = (
                Annotated[Path, tyro.conf.arg(help=text)]
                if required
                else Annotated[Path | None, tyro.conf.arg(help=text)]
            )
            fields.append((each, hint) if required else (each, hint, None))
    out_text = "Folder for the result; a killed run continues there."
    fields.append(("out", Annotated[Path, tyro.conf.arg(help=out_text)]))
    if "*" in kind.optional_inputs:
        more = "Further inputs as NAME=FOLDER."
        fields.append(("inputs", Annotated[tuple[str, ...], tyro.conf.arg(help=more, metavar="NAME=FOLDER")], ()))
    annotated: Any = Annotated
    flat = annotated[config, tyro.conf.arg(name="")]  # its own fields without a prefix, nested ones with theirs
    fields.append(("config", flat, field(default_factory=config)))
    fields.append(("settings", Settings, ()))
    if any(entry.name == "workers" for entry in dataclasses.fields(config)):  # it works shard by shard
        for each in ("executor", "ray_address"):
            fields.append((each, *_launch_field(each)))
    fields.sort(key=lambda entry: len(entry))  # those without a default come first
    return make_dataclass("Options", fields, namespace={"kind": kind, "__doc__": kind.summary}, frozen=True)


def run_kind(options: Any) -> int:
    """Run the step whose options `options_of_kind` described."""
    kind: Kind = options.kind
    inputs = {}
    for entry in dataclasses.fields(options):
        if entry.name in (*kind.inputs, *kind.optional_inputs) and getattr(options, entry.name) is not None:
            inputs[entry.name] = Path(getattr(options, entry.name))
    for pair in getattr(options, "inputs", ()):
        name, equals, folder = pair.partition("=")
        if not equals:
            raise ConfigError(f"--inputs {pair}: expected NAME=FOLDER")
        inputs[name] = Path(folder)
    launch = Launch(executor=getattr(options, "executor", "processes"), ray_address=getattr(options, "ray_address", ""))
    return _done(kind, _with_settings(options.config, options.settings), inputs, options.out, launch)


def _launch_field(name: str) -> tuple[Any, Any]:
    """Type with help, and default, of an option that stands in `Launch` for recipes."""
    found = next(entry for entry in dataclasses.fields(Launch) if entry.name == name)
    help_text = {
        "executor": "Who works on the shards: processes of this machine, or the cores of a Ray cluster.",
        "ray_address": "HOST:PORT of the Ray cluster; empty: RAY_ADDRESS, else the one that runs on this machine.",
    }[name]
    return Annotated[get_type_hints(Launch)[name], tyro.conf.arg(help=help_text)], found.default


def _with_settings(config: Any, settings: Sequence[str]) -> Any:
    """`config` with 'field=value' laid over it: how a flag cannot say that a rule is off, or on with its defaults."""
    if not settings:
        return config
    data = to_dict(config)
    for setting in settings:
        keys, value = parted(setting, "field=value, such as near=null or fineweb={}")
        lay_over(data, keys, value, setting)
    return from_dict(type(config), data, "--set")


def _done(kind: Kind, config: Any, inputs: dict[str, Path], out: Path, launch: Launch | None = None) -> int:
    """Bring `out` to the finished result of one step."""
    for name, folder in inputs.items():
        if folder.is_file():
            raise ConfigError(
                f"--{name}: {folder} is a file; expected a folder of documents or a result (see data read)"
            )
        if not folder.is_dir():
            raise ConfigError(f"--{name}: no such folder: {folder}")
        if (folder / STEP).exists() and read_manifest(folder) is None:
            raise ConfigError(f"--{name}: {folder} is unfinished; the command that began it continues it")
    hashes = ContentHashes(out.parent / ".content.json")
    fingerprints = {name: _fingerprint_of(folder) for name, folder in inputs.items()}
    identity = identity_of(kind.name, kind.version, config, fingerprints, hashes.of)
    hashes.save()
    out = out.resolve()
    with lock.held(out, lambda: say(f"waits for another process that works in {out}")):
        manifest = read_manifest(out)
        if manifest is not None and manifest.fingerprint != fingerprint_of(identity):
            raise ConfigError(f"{out} holds another result ({manifest.name}, {manifest.ended}); choose another --out")
        if manifest is None:
            _take_over(out, identity)
            folders = {name: str(folder.resolve()) for name, folder in inputs.items()}
            argv = without_secrets(running_command())
            name = kind.name.rpartition(".")[2]
            write_json(out / STEP, step_json(name, kind.run, config, identity, folders, launch or Launch(), argv))
            try:
                manifest = execute(out)
            except ValueError as error:
                (out / REFUSED).write_text(f"{error}\n", encoding="utf-8")
                raise
    if manifest is not None:
        say(f"{out}{headline(manifest)}")
    return 0


def _take_over(out: Path, identity: dict[str, Any]) -> None:
    """Make sure that what an earlier attempt left in `out` is not continued under other options.

    What led to an error, and gave no file of a result yet, is put aside: the options were mended. Anything else may be
    hours of work. Raises ConfigError for it.
    """
    if not (out / STEP).exists():
        return
    earlier = read_json(out / STEP)["identity"]
    if earlier != identity:
        if (out / REFUSED).exists() and all(file.path == STEP for file in result_files(out)):
            shutil.rmtree(out / WORK)
        else:
            found = differences(earlier.get("config", {}), identity["config"])
            found += [f"other {key}" for key in identity if key != "config" and earlier.get(key) != identity[key]]
            raise ConfigError(
                f"{out} holds unfinished work with other options ({'; '.join(found)}); give the former to continue it, "
                "choose another --out, or delete it"
            )
    (out / REFUSED).unlink(missing_ok=True)


def _fingerprint_of(folder: Path) -> str:
    """The fingerprint of the result in `folder`, or the hash of its files where no step made it."""
    manifest = read_manifest(folder)
    if manifest is not None:
        return manifest.fingerprint
    files = [[file.path, file.sha256] for file in result_files(folder)]
    return hashlib.sha256(canonical_json(files)).hexdigest()

"""`athanor scaling sweep recipe.yaml`: a ladder of runs through the pipeline, several side by side.

    name: isoflop
    about: ...
    base: {recipe: quickstart.yaml, set: [tokenizer.vocab_size=1024]}   # where the tokens come from
    ladder: {...}                                                        # athanor.scaling.ladder.Ladder

In: such a recipe. Out, in RUNS/<name>: one ordinary result of `train.pretrain` for every run, kept by its
fingerprint like any other; and `sweep/` with runs.csv (for `athanor scaling fit`), tuning.csv, predictions/ and
sweep.json. The base's steps are made in RUNS/<base's name>, where its own recipe finds them too. Budgets are done in
ascending order: learning rates are tuned on the smallest, and from the third on every run has its prediction stored
before it starts. A killed sweep continues: what is finished is kept, runs under way go on from their checkpoints.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

from athanor.core.artifact import Manifest, read_manifest, write_json, write_text
from athanor.core.config import ConfigError, from_dict, suggestion, to_dict
from athanor.core.console import say, short_time, warn
from athanor.core.environment import without_secrets
from athanor.core.workers import available_cores
from athanor.pipeline import runner
from athanor.pipeline.content import ContentHashes
from athanor.pipeline.execute import STEP
from athanor.pipeline.launch import Launch, environment_of
from athanor.pipeline.recipe import Recipe, load_recipe, step
from athanor.pipeline.settings import lay_over, parted, read_yaml
from athanor.pipeline.step import Step, step_json
from athanor.scaling import ladder as plan
from athanor.scaling import prediction
from athanor.scaling.ladder import Ladder, RateRule, Rules, Run
from athanor.scaling.table import row_of, write_rows

TOP_KEYS = ("name", "about", "base", "ladder")
FOLDER = "sweep"


@dataclass(frozen=True)
class Sweep:
    """Options of `athanor scaling sweep`."""

    recipe: Path = Path("recipes/isoflop.yaml")
    """The recipe of the ladder, a YAML file."""
    settings: Annotated[
        tuple[str, ...], tyro.conf.arg(name="set", metavar="ladder.FIELD=VALUE"), tyro.conf.UseAppendAction
    ] = ()
    """Lay a value over the recipe, as --set ladder.FIELD=VALUE; may be given often."""
    processes: int | None = None
    """Runs side by side, one thread each; null: one for each core."""
    dry_run: bool = False
    """Show the ladder and what of it is done, and do nothing."""
    runs: Path = Path("runs")
    """Folder of all runs; results are in RUNS/<recipe name>."""


@dataclass(frozen=True)
class Base:
    """The recipe whose tokens the runs are trained on."""

    recipe: str = "quickstart.yaml"
    """A file beside this one."""
    tokens: str = "tokens"
    """Its step of kind tokenizer.shards; the tokenizer is that step's."""
    set: tuple[str, ...] = ()
    """Values laid over it, as `athanor run --set` does."""


@dataclass(frozen=True)
class Opened:
    """A recipe of a ladder with all it names."""

    name: str
    base: Recipe
    tokens: Step
    ladder: Ladder
    merged: dict[str, Any] = field(repr=False)


def main(options: Sweep) -> int:
    """The command; returns the exit status."""
    if options.processes is not None and options.processes < 1:
        raise ConfigError(f"--processes {options.processes}: at least one")
    hashes = ContentHashes(options.runs / ".content.json")
    opened = open_recipe(options.recipe, options.settings, hashes)
    hashes.save()
    processes = options.processes or available_cores()
    try:
        if options.dry_run:
            _show(opened, options.runs)
        else:
            sweep(opened, options.runs, processes, runner.running_command())
    except runner.StepFailed as failed:
        say(f"error: {failed}; the same command continues where it stopped")
        return failed.status
    return 0


def open_recipe(path: Path, settings: Sequence[str], hashes: ContentHashes) -> Opened:
    """The recipe in `path` with `settings` laid over it; raises ConfigError naming the place."""
    data = read_yaml(path)
    if not isinstance(data, dict) or not isinstance(data.get("ladder"), dict):
        raise ConfigError(f"{path}: a recipe of a sweep is a mapping with a 'ladder'; 'athanor run' takes the others")
    for setting in settings:
        keys, value = parted(setting, "ladder.field=value")
        if keys[0] not in TOP_KEYS:
            raise ConfigError(f"--set {setting}: {suggestion(keys[0], TOP_KEYS)}")
        lay_over(data, keys, value, setting)
    for key in data:
        if key not in TOP_KEYS:
            raise ConfigError(f"{path}: unknown key {key!r}; {suggestion(str(key), TOP_KEYS)}")
    base = from_dict(Base, data.get("base") or {}, f"{path}: base")
    ladder = from_dict(Ladder, data["ladder"], f"{path}: ladder")
    recipe, _ = load_recipe(path.parent / base.recipe, base.set, hashes.of)
    tokens = recipe.step_named(base.tokens)
    if tokens.kind != "tokenizer.shards":
        raise ConfigError(f"{path}: base.tokens: step {base.tokens} is of kind {tokens.kind}, not tokenizer.shards")
    return Opened(str(data.get("name") or path.stem), recipe, tokens, ladder, data)


def sweep(opened: Opened, root: Path, processes: int, argv: Sequence[str] = ()) -> dict[str, Any]:
    """Bring every run of the ladder to its result, and the tables to their places; returns what sweep.json says.

    Raises StepFailed when a run fails; the same call continues later.
    """
    started = time.monotonic()
    runner.run(opened.base, root, until=opened.tokens.name, argv=argv)
    folder = root / opened.name
    write_text(folder / "recipe.yaml", yaml.safe_dump(opened.merged, sort_keys=False, allow_unicode=True))
    vocab_size, unique_tokens = _dataset(root / opened.base.name / opened.tokens.folder_name)
    with _Runs(opened, folder, processes, argv, unique_tokens) as runs:
        found = _climb(opened.ladder, runs, vocab_size, unique_tokens)
        result = {
            "name": opened.name,
            "ladder": to_dict(opened.ladder),
            "vocab_size": vocab_size,
            "unique_tokens": unique_tokens,
            **found,
            "runs": len(runs.rows),
            "tuning_runs": len(runs.tuning),
            "cpu_seconds": round(sum(row["cpu_seconds"] for row in runs.all_rows()), 1),
            "processes": processes,
            "seconds_of_this_attempt": round(time.monotonic() - started, 1),
        }
    write_json(folder / FOLDER / "sweep.json", result)
    _say_result(result, folder / FOLDER)
    return result


def _climb(ladder: Ladder, runs: "_Runs", vocab_size: int, unique_tokens: int) -> dict[str, Any]:
    """Tune, climb budget by budget, then make the target runs; what is worth telling about it."""
    rules: dict[str, Rules] = {}
    tuning = {family: plan.tuning_runs(ladder, family, vocab_size, unique_tokens) for family in ladder.families}
    if ladder.tunes:
        runs.finish([run for each in tuning.values() for run in each], "tuning", tuning=True)
    for family, tried in tuning.items():
        fixed = [RateRule(each[0], 0.0, 1.0, 0.0, 1e9) for each in (ladder.lr_factors, ladder.batch_factors)]
        rules[family] = plan.tuned_rules({run: runs.loss(run) for run in tried}) if ladder.tunes else Rules(*fixed)
        for name, rule in (("lr_factors", rules[family].learning_rate), ("batch_factors", rules[family].batch)):
            for label in rule.at_edge:
                warn(f"{family} {label}: the best of {name} is the first or the last; widen them")
    left_out = []
    for budget in (*ladder.compute_budgets, *ladder.target_budgets):
        wanted: list[Run] = []
        for family in ladder.families:
            members, without = plan.group(ladder, family, budget, vocab_size, unique_tokens)
            left_out += without
            tuned = [
                plan.make_run(
                    ladder,
                    family,
                    run.size,
                    budget,
                    rules[family].learning_rate.factor(run.parameters),
                    seed,
                    vocab_size,
                    rules[family].batch.factor(run.parameters),
                )
                for run in members
                for seed in ladder.seeds
            ]
            if not tuned:
                warn(f"{family}: no size takes part in the budget {budget:.3g}")
                continue
            predicted = runs.predict(family, tuned)
            if budget in ladder.target_budgets:
                if not predicted:
                    raise ConfigError(
                        f"{family}: {len(runs.of(family))} runs before the target {budget:.3g} are too few to predict "
                        f"from ({prediction.FEWEST_RUNS} of two budgets and three sizes); add budgets or sizes"
                    )
                best = min(predicted, key=lambda each: each.loss).parameters
                tuned = [run for run in tuned if run.parameters == best]
                predicted = [each for each in predicted if each.parameters == best]
            for each in predicted:
                runs.store(each)
            wanted += tuned
        runs.finish(wanted, f"budget {budget:.3g}")
    return {
        "learning_rates": {family: asdict(each.learning_rate) for family, each in rules.items()},
        "batches": {family: asdict(each.batch) for family, each in rules.items()},
        "left_out": [asdict(each) for each in left_out],
        "predictions": runs.checks(),
    }


class _Runs:
    """The runs of a sweep: their steps, the processes that do them, and the rows they left."""

    def __init__(self, opened: Opened, folder: Path, processes: int, argv: Sequence[str], unique_tokens: int) -> None:
        self.folder, self.unique_tokens = folder, unique_tokens
        self.rows: dict[str, dict[str, Any]] = {}
        self.tuning: dict[str, dict[str, Any]] = {}
        self._opened, self._argv = opened, without_secrets(list(argv))
        self._conventions = {"parameters": opened.ladder.parameters, "flops": opened.ladder.flops}
        self._manifests: dict[str, Manifest] = {}
        self._workers = _Workers(processes, folder / FOLDER)
        self._said = 0

    def __enter__(self) -> "_Runs":
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.close()

    def step_of(self, run: Run) -> Step:
        """The pipeline's step that makes `run`."""
        tokens = self._opened.tokens
        return step(run.name, "train.pretrain", run.config, tokens=tokens, tokenizer=tokens.inputs["tokenizer"])

    def finish(self, wanted: Sequence[Run], label: str, tuning: bool = False) -> None:
        """Bring `wanted` to their results, the longest first, and write the table anew."""
        table = self.tuning if tuning else self.rows
        steps = {run.name: self.step_of(run) for run in wanted}
        missing = [run for run in wanted if not self._take(run, steps[run.name], table)]
        say(f"{label}: {len(wanted)} runs, {len(wanted) - len(missing)} kept, {len(missing)} to make")
        for run in missing:
            self._prepare(steps[run.name])
        longest_first = sorted(missing, key=lambda run: -run.budget / run.width)  # narrow ones compute slowest
        jobs = [(run.name, self.folder / steps[run.name].folder_name) for run in longest_first]
        by_name = {run.name: run for run in missing}

        def done(name: str) -> None:
            run = by_name[name]
            if not self._take(run, steps[name], table):
                raise runner.StepFailed(name, 1)
            self._say(run, table[name], len(missing))

        self._said = 0
        self._workers.work(jobs, done)
        write_rows(self.folder / FOLDER / ("tuning.csv" if tuning else "runs.csv"), list(table.values()))

    def loss(self, run: Run) -> float:
        """Validation loss of a finished run, nats per token."""
        return float(self._manifests[run.name].metrics["validation_loss"])

    def of(self, family: str) -> list[dict[str, Any]]:
        """Rows of the finished runs of a family."""
        return [row for row in self.rows.values() if row["family"] == family]

    def all_rows(self) -> Iterator[Mapping[str, Any]]:
        """Every row once: tuned runs may be part of both tables."""
        yield from (self.tuning | self.rows).values()

    def predict(self, family: str, wanted: Sequence[Run]) -> list[prediction.Prediction]:
        """Predictions of `wanted` from the runs before; none while these are too few, stored ones as they are."""
        prints = {run.name: self.step_of(run).fingerprint for run in wanted}
        kept = [prediction.stored(self._predictions, run.name, prints[run.name]) for run in wanted]
        found = [each for each in kept if each is not None]
        if len(found) == len(wanted) or not prediction.enough(self.of(family)):
            return found
        return prediction.predictions(self.of(family), wanted, prints)

    def store(self, made: prediction.Prediction) -> None:
        """Write a prediction, unless its run has begun: then it would be none."""
        begun = read_manifest(self.folder / f"{made.run}-{made.fingerprint[:12]}") is not None
        if not begun:
            prediction.store(self._predictions, made)

    def checks(self) -> list[dict[str, Any]]:
        """Predicted against got, for every run that was predicted."""
        found = []
        for name, row in self.rows.items():
            made = prediction.stored(self._predictions, name, row["fingerprint"])
            if made is not None:
                found.append(prediction.checked(made, row["loss"], self._manifests[name].started))
        return found

    @property
    def _predictions(self) -> Path:
        return self.folder / FOLDER / "predictions"

    def _take(self, run: Run, made: Step, table: dict[str, dict[str, Any]]) -> bool:
        """Put the row of a finished run into `table`; False where it is not finished."""
        manifest = read_manifest(self.folder / made.folder_name)
        if manifest is None:
            return False
        self._manifests[run.name] = manifest
        table[run.name] = row_of(run, manifest, self._conventions, self.unique_tokens)
        return True

    def _prepare(self, made: Step) -> None:
        """Write the step.json that a worker reads."""
        beside = Path("..") / self._opened.base.name
        inputs = {name: (beside / needed.folder_name).as_posix() for name, needed in made.inputs.items()}
        described = step_json(made.name, made.run, made.config, made.identity, inputs, Launch(), self._argv)
        write_json(self.folder / made.folder_name / STEP, described)

    def _say(self, run: Run, row: Mapping[str, Any], total: int) -> None:
        self._said += 1
        made = prediction.stored(self._predictions, run.name, row["fingerprint"])
        expected = f" (predicted {made.loss:.4f}, {made.low:.4f} to {made.high:.4f})" if made else ""
        seconds = short_time(self._manifests[run.name].seconds)
        say(f"  [{self._said:2d}/{total}] {run.name}: loss {row['loss']:.4f}{expected}, {seconds}")


class _Workers:
    """Processes that do steps one after another; started when there is work."""

    def __init__(self, count: int, folder: Path) -> None:
        self._count, self._folder = count, folder
        self._processes: dict[int, subprocess.Popen[str]] = {}

    def work(self, jobs: Sequence[tuple[str, Path]], done: Callable[[str], None]) -> None:
        """Do `jobs`, each a name and a folder, in their order; `done` is called after each, one at a time.

        Raises StepFailed after the first failure; jobs under way end with their processes.
        """
        waiting, guard, failed = list(reversed(jobs)), threading.Lock(), threading.Event()

        def serve(number: int) -> None:
            while not failed.is_set():
                with guard:
                    if not waiting:
                        return
                    name, folder = waiting.pop()
                try:
                    self._do(number, name, folder)
                    with guard:
                        done(name)
                except BaseException:
                    failed.set()
                    raise

        with ThreadPoolExecutor(self._count) as pool:
            futures = [pool.submit(serve, number) for number in range(min(self._count, len(jobs)))]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                failed.set()
                self.close(now=True)
                raise

    def close(self, now: bool = False) -> None:
        """End the processes, when their step is done or at once."""
        for process in self._processes.values():
            if process.stdin is not None:
                process.stdin.close()
            if now:
                process.terminate()
        for process in self._processes.values():
            try:
                process.wait(runner.STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._processes.clear()

    def _do(self, number: int, name: str, folder: Path) -> None:
        process = self._processes.get(number) or self._started(number)
        assert process.stdin is not None and process.stdout is not None
        try:
            print(folder.resolve(), file=process.stdin, flush=True)
            reply = process.stdout.readline().strip()
        except (OSError, ValueError):
            reply = ""
        if reply != "0":
            reason = folder / "_work" / "error.txt"
            if reply and reason.exists():
                say(f"error: {reason.read_text(encoding='utf-8').rstrip().splitlines()[-1]}")
            say(f"  (see {reason if reply else self._log(number)})")
            raise runner.StepFailed(name, int(reply or process.wait() or 1))

    def _started(self, number: int) -> "subprocess.Popen[str]":
        self._folder.mkdir(parents=True, exist_ok=True)
        environment = environment_of(Launch()) | {"OMP_NUM_THREADS": "1"}
        with self._log(number).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "athanor.pipeline.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
                encoding="utf-8",
            )
        self._processes[number] = process
        return process

    def _log(self, number: int) -> Path:
        return self._folder / f"worker-{number}.log"


def _dataset(tokens: Path) -> tuple[int, int]:
    """Vocabulary size and training tokens of a finished step of token shards."""
    from athanor.tokenizer.token_shards import TokenDataset
    from athanor.tokenizer.tokenizer import Tokenizer

    manifest = read_manifest(tokens)
    assert manifest is not None
    tokenizer = Tokenizer.load(tokens.parent / manifest.input_folders["tokenizer"])
    return tokenizer.vocab_size, TokenDataset(tokens / "train").num_tokens


def _show(opened: Opened, root: Path) -> None:
    """What the ladder holds, without running anything."""
    tokens = root / opened.base.name / opened.tokens.folder_name
    if read_manifest(tokens) is None:
        say(
            f"{opened.name}: the tokens of {opened.base.name} are not made yet, and the ladder depends on their "
            f"number; the sweep makes them first, or 'athanor run' of the recipe {opened.base.name} does"
        )
        return
    vocab_size, unique_tokens = _dataset(tokens)
    ladder = opened.ladder
    for family in ladder.families:
        tuning = plan.tuning_runs(ladder, family, vocab_size, unique_tokens) if ladder.tunes else []
        print(f"{family}: {len(tuning)} runs of tuning")
        for budget in (*ladder.compute_budgets, *ladder.target_budgets):
            members, left_out = plan.group(ladder, family, budget, vocab_size, unique_tokens)
            target = budget in ladder.target_budgets
            print(f"  {budget:.3g} FLOPs{', one of' if target else ''}")
            for run in members:
                epochs = run.tokens / unique_tokens
                print(
                    f"    {run.layers:3d} x {run.width:<4d} {run.parameters:>12,} parameters {run.tokens:>13,} tokens "
                    f"{run.num_steps:>8,} steps {epochs:6.2f} epochs {run.tokens / run.parameters:7.1f} D/N"
                )
            for each in left_out:
                print(f"    {each.size[0]:3d} x {each.size[1]:<4d} left out: {each.reason}")


def _say_result(result: Mapping[str, Any], folder: Path) -> None:
    checks = result["predictions"]
    inside = sum(check["inside"] for check in checks)
    say(f"{result['runs']} runs, {result['cpu_seconds']:,.0f} CPU seconds, in {folder}")
    if checks:
        say(f"{inside} of {len(checks)} predictions held the result in their 90% interval")
        for check in checks:
            if check["budget"] in result["ladder"]["target_budgets"]:
                expected = f"predicted {check['predicted']:.4f} ({check['low']:.4f} to {check['high']:.4f})"
                say(f"  {check['run']}: {expected}, got {check['got']:.4f} ({check['error']:+.2%})")
    say(f"next: athanor scaling fit --runs {folder / 'runs.csv'} --out FOLDER")

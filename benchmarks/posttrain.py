"""Post-training beside TRL: the same ten-million-parameter Llama, tokens, batches and precision, in turns.

    python benchmarks/posttrain.py --data FOLDER --peer VENV/bin/python --ppo-peer VENV2/bin/python
        [--tasks sft dpo ...] [--precision float32 bfloat16] [--threads N] [--steps N] [--rounds N]
        [--work FOLDER] [--quick] [--json FILE]

TRL lives in environments of its own, because it brings its own transformers: 1.16, and 1.12 for PPO, which later ones
dropped. FOLDER holds random_9k.json (Alpaca) and harmless-base.test.jsonl.gz (hh-rlhf); it is kept with --work.

    python -m venv VENV && VENV/bin/pip install torch==2.13.0 && VENV/bin/pip install "trl==1.16.*"
    python -m venv VENV2 && VENV2/bin/pip install torch==2.13.0 && VENV2/bin/pip install trl==1.12.0

Each side is a process that trains with its own loop and stops between rounds, so that they take turns. A round holds
all of a step: collating rows, forward, backward, optimizer, the trainer's bookkeeping; for PPO and GRPO sampling and
scoring too. Not in it: tokenizing (GRPO's peer alone does it in every step), loading, two steps of warm-up, and where
the table says "stored" the reference's log-probabilities. Figures are seconds per unit (1,000 real tokens, a pair, an
episode) and their ratio. On a GPU they are of the wall, and rollouts are also measured with vLLM where the peer has it.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from posttrain_rounds import Task
from side_by_side import OURS, Row, parser_of, report, rows_of

HERE = Path(__file__).parent
PEER = "TRL"
NEW_TOKENS = 48


@dataclass(frozen=True)
class Contest:
    """A row of the table: which side of ours against which of theirs, in which unit."""

    title: str
    task: str
    unit: str
    target: str
    ours: Mapping[str, Any] = field(default_factory=dict)
    theirs: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 8
    units: float = 1.0
    """Units that the seconds are given for."""


ROLLOUTS = {"new_tokens": 64}
PPO = {"new_tokens": NEW_TOKENS}
ONE_TRUNK = {"value_network": "shared"}
GRPO = {"new_tokens": NEW_TOKENS, "group_size": 8, "kl_coefficient": 0.04}
LONG = {"rows": "long"}
CONTESTS: dict[str, tuple[Contest, ...]] = {
    "sft": (Contest("SFT, 1,000 real tokens", "sft", "tokens", "2x, aim 3.5x", units=1000),),
    "reward_model": (Contest("reward model, pair", "reward_model", "pairs", "2.2x, aim 4x"),),
    "dpo": (Contest("DPO, pair; ours stored", "dpo", "pairs", "3x, aim 5x"),),
    "dpo_reference": (
        Contest("DPO, pair; reference in the round", "dpo", "pairs", "-", ours={"reference": "in the round"}),
        Contest("DPO, pair; both stored", "dpo", "pairs", "-", theirs={"reference": "stored"}),
    ),
    "dpo_memory": (Contest("DPO, pair of 2 x 1,024 tokens", "dpo", "pairs", "memory at most 1x", LONG, LONG),),
    "ppo": (
        Contest("PPO, episode", "ppo", "episodes", "1.4x, aim 2x", PPO, PPO, batch_size=16),
        Contest("PPO, episode; ours one trunk", "ppo", "episodes", "aim 2.5x", PPO | ONE_TRUNK, PPO, batch_size=16),
    ),
    "grpo": (Contest("GRPO, episode", "grpo", "episodes", "1.3x, aim 2x", GRPO, GRPO, batch_size=32),),
    "rollouts": (
        Contest("rollouts, 1,000 tokens", "rollouts", "tokens", "1.5x, aim 3x", ROLLOUTS, ROLLOUTS, 32, units=1000),
    ),
}


class Side:
    """A process that trains, round after round."""

    def __init__(self, python: str, script: str, task: Task) -> None:
        self.python, self.task = python, task
        environment = {**os.environ, "OMP_NUM_THREADS": str(task.threads)}
        self._process = subprocess.Popen(
            [python, str(HERE / script), json.dumps(asdict(task))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._heard()  # that it is warm

    def round(self) -> dict[str, Any]:
        """What one more round took."""
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._heard()

    def end(self) -> None:
        """Wait for the process, or stop it where rounds are left."""
        self._process.terminate()
        self._process.wait()

    def _heard(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.python} ended in the task {self.task.name!r}; see its errors above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="Alpaca and hh-rlhf, see above")
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has TRL 1.16")
    parser.add_argument("--ppo-peer", metavar="PYTHON", help="an interpreter that has TRL 1.12")
    parser.add_argument("--tasks", nargs="+", choices=tuple(CONTESTS), default=list(CONTESTS))
    parser.add_argument("--precision", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="optimizer steps (updates) of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep model and tokens there for the next time")
    chosen = parser.parse_args()
    steps, rounds = (2, 2) if chosen.quick else (chosen.steps, chosen.rounds)
    rows: list[Row] = []
    with folder_of(chosen.work) as folder:
        sizes = prepared(chosen.data, folder)
        print(", ".join(f"{name} {number:,.1f}" for name, number in sizes.items()), file=sys.stderr)
        for precision in chosen.precision:
            base = Task("", str(folder), precision, chosen.threads, 0, steps, 2, rounds)
            for name in chosen.tasks:
                peer = chosen.ppo_peer if name == "ppo" else chosen.peer
                rows += measured(CONTESTS[name], base, peer)
    print(f"seconds: {time_of()} of one unit, real tokens only; {chosen.threads} threads, {steps} steps a round")
    report(rows, ["athanor", "torch"], chosen.json)


@contextmanager
def folder_of(kept: Path | None) -> Iterator[Path]:
    """Where model and tokens are."""
    if kept is None:
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)
    else:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept


def prepared(data: Path, folder: Path) -> dict[str, float]:
    """Model and tokens in `folder`, made where they are missing; how large they are."""
    sizes = folder / "sizes.json"
    if not sizes.exists():
        from posttrain_data import prepare

        sizes.write_text(json.dumps(prepare(data, folder)))
    found: dict[str, float] = json.loads(sizes.read_text())
    return found


def measured(contests: Sequence[Contest], base: Task, peer: str | None) -> list[Row]:
    """The rows of one task, whose sides take turns together."""
    sides: dict[str, Side] = {}
    try:
        for contest in contests:
            task = replace(base, name=contest.task, batch_size=contest.batch_size)
            for name, python, script, options in (
                (OURS, sys.executable, "posttrain_ours.py", contest.ours),
                (PEER, peer, "posttrain_peer.py", contest.theirs),
            ):
                if python and key_of(name, options) not in sides:
                    sides[key_of(name, options)] = Side(python, script, replace(task, options=dict(options)))
        if contests[0].task == "rollouts" and peer and has_vllm(peer):
            options = {**ROLLOUTS, "engine": "vllm"}
            sides["vLLM"] = Side(peer, "posttrain_peer.py", replace(task, options=options))
        answers: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        for turn in range(base.num_rounds):
            print(f"{contests[0].task} {base.precision}: round {turn + 1} of {base.num_rounds}", file=sys.stderr)
            for name, side in sides.items():
                answers[name].append(side.round())
                print(f"  {name}: {answers[name][-1]}", file=sys.stderr)
    finally:
        for side in sides.values():
            side.end()
    rows: list[Row] = []
    for contest in contests:
        found = {OURS: answers[key_of(OURS, contest.ours)]}
        if peer:
            found[PEER] = answers[key_of(PEER, contest.theirs)]
        if "vLLM" in answers:
            found["vLLM"] = answers["vLLM"]
        rows += contest_rows(contest, base.precision, found)
    return rows


def contest_rows(contest: Contest, precision: str, found: Mapping[str, list[dict[str, Any]]]) -> list[Row]:
    """The rows of one contest, with peak memory and the ratio on the wall as notes."""
    per_unit = {
        clock: {
            name: [r[clock] / r["units"][contest.unit] * contest.units for r in rounds]
            for name, rounds in found.items()
        }
        for clock in ("cpu", "wall")
    }
    rows = rows_of(f"{contest.title}, {precision}", per_unit[time_of()], "")
    on_wall = {row.contender: row.ratio for row in rows_of("", per_unit["wall"])}
    peaks = {name: max(r["peak_bytes"] for r in rounds) / 1e6 for name, rounds in found.items()}
    return [
        replace(
            row,
            note=f"target {contest.target}; wall {on_wall[row.contender]:.2f}; peak {peaks[row.contender]:,.0f} MB",
        )
        for row in rows
    ]


def key_of(name: str, options: Mapping[str, Any]) -> str:
    """A side's name with what distinguishes it."""
    return f"{name} {json.dumps(dict(options), sort_keys=True)}"


def time_of() -> str:
    """The clock that means something here: a GPU works while the processor waits."""
    import torch

    return "wall" if torch.cuda.is_available() else "cpu"


def has_vllm(python: str) -> bool:
    """Whether the interpreter has vLLM and sees a GPU."""
    probe = "import torch, vllm; raise SystemExit(not torch.cuda.is_available())"
    return subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    main()

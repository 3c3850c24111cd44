"""A step that several processes of `torchrun` do together, each a share of every batch, with no line of it about that.

    @shared_by_processes
    def run(config, inputs, out): ...

Every process runs the function; `trainer.fit` in it gives each some of a step's micro-batches and adds the gradients
up, so that all have the same weights after every step. What the first process writes is the result; others write into a
folder that is thrown away, and say nothing. For steps whose model fits on every device: supervised fine-tuning,
reward models, DPO. Pretraining lays its model out itself (`parallelize.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from athanor.train.gradients import Part, Share
from athanor.train.parallel import World, joined
from athanor.train.precision import training_device

C = TypeVar("C")
Run = Callable[[C, Mapping[str, Path], Path], dict[str, Any]]

_world: ContextVar[World | None] = ContextVar("world", default=None)


def shared_by_processes(run: Run[C]) -> Run[C]:
    """The step `run`, done by all processes of `torchrun` together; as it is where there is one."""

    @wraps(run)
    def shared(config: C, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
        with joined(training_device()) as world:
            token = _world.set(world)
            try:
                if world.leads:
                    return run(config, inputs, out)
                with TemporaryDirectory() as thrown_away:
                    return run(config, inputs, Path(thrown_away))
            finally:
                _world.reset(token)

    return shared


def world_of_step() -> World:
    """The processes that share the running step: this one alone outside of `shared_by_processes`."""
    return _world.get() or World()


def shares_of(parts: Iterable[Part], world: World) -> Iterator[Part]:
    """Every so-maniest of `parts`, those of this process; all get as many, some one that counts for nothing."""
    every = list(parts)
    yield from every[world.reader :: world.num_readers]
    missing = -(-len(every) // world.num_readers) - len(every[world.reader :: world.num_readers])
    for _ in range(missing):
        yield lambda: _for_nothing(every[0]())


def _for_nothing(share: Share) -> Share:
    """A share that adds nothing, with the same numbers."""
    return Share(share.loss * 0.0, 0, dict.fromkeys(share.numbers, 0.0))

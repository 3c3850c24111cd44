"""A step that several processes of `torchrun` do together, each a share of every batch, with no line of it about that.

    @shared_by_processes
    def run(config, inputs, out): ...

Every process runs the function; `trainer.fit` in it gives each some of a step's micro-batches and adds the gradients
up, so that all have the same weights after every step. What the first process writes is the result; others write into a
folder that is thrown away, and say nothing. For supervised fine-tuning, reward models, DPO and KTO. Where the config
has a layout (`parallel`) that shards the weights, each process stores a share of them; then all must make the same
forward passes, so that what one of them has found in a file is told to all (`kept`). Pretraining lays its model out
itself (`parallelize.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch.distributed as dist

from athanor.core.artifact import read_json, write_json
from athanor.train.gradients import Part, Share
from athanor.train.parallel import World, joined
from athanor.train.parallel_config import Parallel
from athanor.train.precision import training_device

C = TypeVar("C")
Run = Callable[[C, Mapping[str, Path], Path], dict[str, Any]]

_world: ContextVar[World | None] = ContextVar("world", default=None)


def shared_by_processes(run: Run[C]) -> Run[C]:
    """The step `run`, done by all processes of `torchrun` together; as it is where there is one."""

    @wraps(run)
    def shared(config: C, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
        with joined(training_device(), _layout_of(config)) as world:
            token = _world.set(world)
            try:
                if world.leads:
                    return run(config, inputs, out)
                with TemporaryDirectory() as thrown_away:
                    return run(config, inputs, Path(thrown_away))
            finally:
                _world.reset(token)

    return shared


def _layout_of(config: object) -> Parallel:
    """The layout that `config` asks for; raises ValueError for one that rows of unequal length do not allow."""
    layout: Parallel = getattr(config, "parallel", Parallel())
    for name in ("pipeline", "context", "tensor", "expert"):
        if getattr(layout, name) > 1:
            raise ValueError(
                f"parallel.{name} is {getattr(layout, name)}; post-training takes rows of unequal length end to end, "
                f"which only data_replicate and data_shard share out: set {name} to 1, and data_shard for a model too "
                "large for one device"
            )
    return layout


def kept(path: Path, compute: Callable[[], Any]) -> Any:
    """What stands in the JSON file `path`, on all processes; where there is none, all `compute` it and one keeps it.

    Every process has a folder of its own, and only the first one's outlasts a restart: did each look for itself, some
    would wait for the forward passes of others for ever.
    """
    world = world_of_step()
    told: list[Any] = [read_json(path)] if path.exists() else [None]
    if world.size > 1:
        dist.broadcast_object_list(told, src=0, group=world.file_group)
    if told[0] is None:
        found = compute()
        write_json(path, found)
        return found
    return told[0]


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

"""Pipeline parallelism: consecutive blocks on consecutive processes, micro-batches one after another (1F1B).

Each stage keeps its blocks; the first has the embedding too, the last the final norm and the output layer. In training
torch.distributed.pipelining sends hidden states and their gradients and keeps the order one forward, one backward
(Narayanan et al. 2019), so that no stage holds more micro-batches than there are stages after it. Without gradients
(validation, samples) calling the model passes hidden states from stage to stage, and only the last returns
those of the model.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

from athanor.model.transformer import Transformer
from athanor.train.gradients import Added, Part, Pass, Share
from athanor.train.parallel import World
from athanor.train.spread import Placed


class Pipeline:
    """The stage of this process, and the schedule that it follows with the others."""

    def __init__(self, model: Transformer, world: World) -> None:
        self.model, self.world = model, world
        self.group = world.group("pipeline")
        self._stage, self._num_stages = self.group.rank(), self.group.size()
        self._passes: list[Pass] = []
        self._shares: list[Share] = []
        self._names: list[str] = []
        self._scale = 1.0
        self._schedules: dict[tuple[int, ...], Schedule1F1B] = {}
        model.register_forward_pre_hook(self._enter, with_kwargs=True, prepend=True)
        model.register_forward_hook(self._leave, with_kwargs=True)

    def add_gradients(self, parts: Iterable[Part], scale: float) -> Added:
        """The gradients of `scale` times the loss of all parts, on the parameters of every stage.

        Numbers and tokens are known to the last stage alone. Raises ValueError where the parts do not fit the schedule.
        """
        self._passes = self._checked(list(parts))
        self._shares, self._scale = [], scale
        count = len(self._passes)
        numbers, losses = torch.arange(count), list[Tensor]()
        given = (numbers,) if self._stage == 0 else ()
        last: dict[str, Any] = {"target": numbers, "losses": losses} if self.world.is_last_stage else {}
        self._schedule().step(*given, **last, number=numbers, return_outputs=False)
        self._passes = []
        sums: dict[str, float] = {"loss": 0.0}
        for share in self._shares:
            for name, value in {"loss": float(share.loss.detach()), **share.numbers}.items():
                sums[name] = sums.get(name, 0.0) + value
        if not self._names:
            told: list[Any] = [list(sums)]
            dist.broadcast_object_list(told, src=self._rank_of(self._num_stages - 1), group=self.group)
            self._names = told[0]
        return Added({name: sums.get(name, 0.0) for name in self._names}, sum(s.num_tokens for s in self._shares))

    def _checked(self, parts: list[Part]) -> list[Pass]:
        passes = [part for part in parts if isinstance(part, Pass)]
        if len(passes) < len(parts):
            raise ValueError("this training cannot go through a pipeline: set fit.parallel.pipeline to 1")
        if len(passes) < self._num_stages:
            raise ValueError(
                f"a pipeline of {self._num_stages} stages needs as many micro-batches, and each process has "
                f"{len(passes)}: choose a smaller micro_batch_size or a larger batch_size"
            )
        if len({tuple(one.tokens_BT.shape) for one in passes}) > 1:
            raise ValueError("micro-batches of a pipeline must be of one size: choose a micro_batch_size that divides")
        return passes

    def _schedule(self) -> Schedule1F1B:
        """The schedule for this number and size of micro-batches."""
        rows, count = self._passes[0].tokens_BT.shape
        key = (len(self._passes), rows, count)
        if key not in self._schedules:
            number = torch.zeros(1, dtype=torch.int64)
            stage = PipelineStage(
                self.model,
                self._stage,
                self._num_stages,
                self._device,
                input_args=(number,) if self._stage == 0 else (self._between(rows, count).requires_grad_(),),
                output_args=(self._between(rows, count, whole=self.world.is_last_stage).requires_grad_(),),
                group=self.group,
            )
            self._schedules[key] = Schedule1F1B(stage, len(self._passes), loss_fn=self._loss, scale_grads=False)
        return self._schedules[key]

    def _loss(self, hidden_BTD: Tensor, number: Tensor) -> Tensor:
        share = self._passes[int(number)].score(hidden_BTD)
        self._shares.append(share)
        return share.loss * self._scale

    def _enter(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Put the model's own arguments in the place of a micro-batch's number, or fetch the hidden states."""
        if "number" in kwargs:
            one = self._passes[int(kwargs["number"])]
            return (one.tokens_BT if self._stage == 0 else args[0], one.layout), {}
        if self._stage == 0:
            return None
        hidden = self._between(*args[0].shape)
        dist.recv(hidden, self._rank_of(self._stage - 1), group=self.group)
        return (hidden, *args[1:]), kwargs

    def _leave(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], hidden: Tensor) -> None:
        if not torch.is_grad_enabled() and not self.world.is_last_stage:
            dist.send(hidden.contiguous(), self._rank_of(self._stage + 1), group=self.group)

    def _between(self, rows: int, count: int, whole: bool = False) -> Tensor:
        """Room for the hidden states between two stages, of which each process of a tensor group has some positions."""
        positions = count if whole else -(-count // self.world.layout.tensor)
        return torch.empty(
            rows, positions, self.model.config.d_model, dtype=self.model.compute_dtype, device=self._device
        )

    def _rank_of(self, stage: int) -> int:
        return dist.get_global_rank(self.group, stage)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


class _Blocks(nn.ModuleDict):
    """Some of a model's blocks under their numbers in the whole, gone through as a list."""

    def __iter__(self) -> Any:
        return iter(self._modules.values())


def keep_stage(model: nn.Module, world: World, placed: dict[str, Placed]) -> dict[str, Placed]:
    """Leave of `model` the blocks of this process's stage; returns in which stage every parameter is.

    Raises ValueError where the model cannot be cut so.
    """
    num_stages, mine = world.layout.pipeline, world.place("pipeline")
    if (
        not isinstance(model, Transformer)
        or model.head is None
        or model.config.experts is not None
        or model.config.value_embeddings
    ):
        raise ValueError(
            "a pipeline takes Transformers with an output layer of their own, without experts and value embeddings: "
            "set tied_embeddings to false, or fit.parallel.pipeline to 1"
        )
    num_blocks = len(model.blocks)
    if num_blocks < num_stages:
        raise ValueError(f"{num_blocks} layers cannot make {num_stages} stages: lower fit.parallel.pipeline")

    def stage_of(name: str) -> int:
        if name.startswith("blocks."):
            return int(name.split(".")[1]) * num_stages // num_blocks
        return 0 if name.startswith("embedding.") else num_stages - 1

    found = {name: replace(place, stage=stage_of(name)) for name, place in placed.items()}
    kept = {str(n): block for n, block in enumerate(model.blocks) if stage_of(f"blocks.{n}.") == mine}
    model.blocks = _Blocks(kept)  # type: ignore[assignment]
    if mine > 0:
        model.embedding = None  # type: ignore[assignment]
    if mine < num_stages - 1:
        model.final_norm = None  # type: ignore[assignment]
        model.head = None
    return found

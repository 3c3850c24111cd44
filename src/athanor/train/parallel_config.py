"""How many processes share which part of the work, without torch.

A layout decides who computes what, never what is computed: every one gives the losses of one process but for
rounding. So it is a runtime choice, like the number of processes, and a run may go on under another one.
"""

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Parallel:
    """Ways in which the processes of `torchrun` split a model and its batches; their product is the world size."""

    data_replicate: int | None = None
    """Groups of processes that hold the whole model each and share the sequences; none: what the others leave."""
    data_shard: int = 1
    """Processes that share the sequences and store a share of every weight each (FSDP2, ZeRO stage 3)."""
    tensor: int = 1
    """Processes that compute a share of every matrix product each, and of the positions between them."""
    pipeline: int = 1
    """Stages of consecutive blocks, through which micro-batches go one forward, one backward (1F1B)."""
    context: int = 1
    """Processes that hold a share of the positions of every sequence each (ring attention)."""
    expert: int = 1
    """Processes, of those in data_shard, that hold a share of the experts each; no factor of the product."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            ways = getattr(self, entry.name)
            if ways is not None and ways < 1:
                raise ValueError(f"{entry.name} is {ways}; it must be at least 1")

    def on(self, world_size: int) -> "Parallel":
        """This layout with data_replicate filled in; raises ValueError where it does not fit `world_size`."""
        if self.data_shard % self.expert:
            raise ValueError(
                f"data_shard {self.data_shard} is not a multiple of expert {self.expert}, which is part of it"
            )
        rest = self.data_shard * self.tensor * self.pipeline * self.context
        replicate = self.data_replicate or max(1, world_size // rest)
        if replicate * rest != world_size:
            factors = ("data_replicate", "data_shard", "tensor", "pipeline", "context")
            ways = ", ".join(f"{name} {getattr(self, name) or replicate}" for name in factors)
            raise ValueError(
                f"the layout ({ways}) needs {replicate * rest} processes and there are {world_size}: start as many "
                "with torchrun --nproc-per-node, or change fit.parallel"
            )
        return replace(self, data_replicate=replicate)

    @property
    def splits_model(self) -> bool:
        """Whether no process holds the whole model."""
        return self.data_shard * self.tensor * self.pipeline * self.context > 1

"""Config of the study of how much data fine-tuning needs."""

from dataclasses import dataclass, field

from athanor.core.chat_endpoint import Endpoint
from athanor.posttrain.config.sft import Sft


@dataclass(frozen=True)
class SftStudy:
    """Fine-tunes one base on more and more rows of each source, with several seeds."""

    files: tuple[str, ...] = field(default=(), metadata={"files": True})
    """Training data, each file a source: JSON, JSON Lines or Parquet in any format of posttrain.conversations."""
    test_files: tuple[str, ...] = field(default=(), metadata={"files": True})
    """Held-out data; rows whose prompt any source has are left out of it."""
    sizes: tuple[int, ...] = (250, 500, 1000, 2000, 4000, 8000)
    """Rows to train on; a source takes part as far as it has so many."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each draws its own rows and its own order; of one seed the smaller sets lie in the larger ones."""
    sft: Sft = field(default_factory=lambda: Sft(num_steps=160, max_epochs=1000.0, num_held_out=400, num_samples=4))
    """Training of every run; with many max_epochs all runs take the same number of steps, whatever their rows."""
    num_answers: int = 32
    """Held-out prompts that every model answers, for lengths, ends and win rates."""
    win_rate: bool = False
    """Let the judge compare the answers with the base's: the model of the input reward_model, or the endpoint."""
    endpoint: Endpoint = field(default_factory=Endpoint)
    """A language model as the judge, asked in both orders; used where it has a model's name."""
    keep_models: bool = field(default=False, metadata={"runtime": True})
    """Keep the weights of every run; else only its numbers and answers."""

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 1 or len(set(self.sizes)) != len(self.sizes):
            raise ValueError(f"sizes: expected different numbers of rows, found {self.sizes}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: expected at least one, each once, found {self.seeds}")
        if self.num_answers < 1:
            raise ValueError(f"num_answers is {self.num_answers}; it must be at least 1")

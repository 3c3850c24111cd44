"""Config of supervised fine-tuning."""

from dataclasses import dataclass, field
from typing import Literal

from athanor.posttrain.config.training import Training
from athanor.tokenizer.chat_template import LossOn


@dataclass(frozen=True)
class Sft(Training):
    """Supervised fine-tuning on conversations, with the loss on completions only."""

    num_steps: int = 300
    """Optimizer steps, unless `max_epochs` ends training first."""
    max_epochs: float = 3.0
    """Passes over the rows after which training ends even if steps are left."""
    batch_size: int = 16
    """Rows per optimizer step."""
    lr_peak: float = 6e-4
    """Peak of AdamW's learning rate."""
    chat_template: Literal["model", "athanor", "chatml", "llama3", "qwen"] = field(
        default="model", metadata={"added": "model"}
    )
    """How conversations are written: as the model's own Jinja does, or by a name; the result keeps it."""
    loss_on: LossOn = field(default="completions", metadata={"added": "completions"})
    """completions: every answer of the assistant; last_completion: the last one only; all: every token."""
    neftune_alpha: float | None = field(default=None, metadata={"added": None})
    """Noise on the embeddings in training (Jain et al. 2023 take 5 to 15); null: none."""
    evaluate_every: int = 20
    """Steps between two held-out losses."""
    num_held_out: int = 64
    """Held-out conversations for that loss."""
    num_samples: int = 8
    """Held-out prompts answered before and after training, kept in samples.jsonl."""
    max_new_tokens: int = 80
    """Longest answer among the samples."""
    show_mask: int = field(default=0, metadata={"runtime": True})
    """Print this many conversations before training, what is learned between ⟦ and ⟧."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neftune_alpha is not None and self.neftune_alpha <= 0:
            raise ValueError(f"neftune_alpha is {self.neftune_alpha}; it must be above 0, or null")

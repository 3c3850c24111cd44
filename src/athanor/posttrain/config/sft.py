"""Config of supervised fine-tuning."""

from dataclasses import dataclass, field

from athanor.posttrain.config.training import Training


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

"""Config of the report step."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """One offline page with the whole lineage, every number linked to the step that made it."""

    title: str = "From crawl to chat"
    """Headline of the page."""
    num_excerpts: int = 2
    """Removed texts shown for each reason of removal."""
    excerpt_characters: int = 400
    """Longest excerpt of a removed text or a sample."""
    num_samples: int = 6
    """Prompts whose answers are shown side by side."""

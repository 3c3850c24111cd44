"""athanor: from a raw web crawl to a chat assistant, every step traced."""

__version__ = "0.1.0"

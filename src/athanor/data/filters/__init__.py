"""Rules over plain text that decide whether a document is worth keeping, and say why not."""

"""Text of web pages by a method of our own; see `native`."""

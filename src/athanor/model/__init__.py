"""The language model: its shape, its layers, what sees what, its counts, and its Hugging Face form."""

"""The training loop, exact to the byte when resumed, and pretraining on top of it."""

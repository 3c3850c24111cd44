"""Looking at documents: what a folder holds, samples of it, and the way of one document through a run."""

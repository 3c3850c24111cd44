"""What every room shares: configs, artifacts, documents, workers, progress. Nothing here imports torch."""

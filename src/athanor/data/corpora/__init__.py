"""Published corpora, read as they are and written as shards of documents."""

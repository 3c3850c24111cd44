"""The decisions of datatrove 0.10.1, exactly: its rules, its word split, its reasons."""

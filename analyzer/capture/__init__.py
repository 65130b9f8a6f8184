"""Floor 0: files and their frames."""

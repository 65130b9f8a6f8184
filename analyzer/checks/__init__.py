"""Floor 3: the rules."""

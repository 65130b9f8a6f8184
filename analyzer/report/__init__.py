"""Floor 4: what is shown of an analysis."""

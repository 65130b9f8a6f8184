"""Modal windows over the screens."""

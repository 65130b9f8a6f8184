"""Floor 1: frames to streams."""

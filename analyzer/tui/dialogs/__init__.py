"""Windows over the screens that ask for something."""

"""Floor 2: streams to channels, packets, devices and migrations."""

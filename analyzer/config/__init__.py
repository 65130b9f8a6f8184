"""Configuration files: the settings, where files are found, and the values in force."""

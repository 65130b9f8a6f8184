"""Configuration files: the settings there are, where they are found, and what is in force."""

"""Checks of one file or of many: what is to be done, by whom, and the table at the end."""

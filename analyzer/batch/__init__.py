"""Checks of one or many files: jobs, and the processes or cluster that run them."""

"""Benchmarks: time and memory of mfshark, compared with cat and tshark on the same capture."""

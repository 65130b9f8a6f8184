"""Extraction to files: device state, guest memory, raw streams, and a manifest."""

"""Payload as files: device state, guest memory, raw streams, and a manifest."""

"""How fast, in how much memory: mfshark beside cat and tshark, on the same capture."""

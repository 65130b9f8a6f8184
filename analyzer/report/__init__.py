"""Layer 4: reports of an analysis."""

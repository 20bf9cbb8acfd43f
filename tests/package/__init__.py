"""Checks of the built package: contents, metadata, reproducibility, and use in a clean environment."""

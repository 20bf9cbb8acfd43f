"""Deleting flows and runs by policy, and bringing flows back from an archive."""

"""Deleting flows by policy, and bringing them back from an archive."""

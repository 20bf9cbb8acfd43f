"""Operators: each deletes, writes, reads or exports flows in one task."""

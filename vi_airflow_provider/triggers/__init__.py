"""Triggers: waiting on the event loop of the triggerer."""

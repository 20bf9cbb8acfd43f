"""Notifications about what tasks of this provider have done."""

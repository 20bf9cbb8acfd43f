"""The tests. Shared pieces (``tests.documents``, ``tests.scripted_server``) are imported by these names."""

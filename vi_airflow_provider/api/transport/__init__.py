"""What the clients need to move bytes: deadlines, prefetching, and an event loop in a thread."""

"""What the clients need to move bytes: deadlines and prefetching."""

"""The sans-IO protocol: what to send, and what each response means."""

"""Which flows a DAG author means."""

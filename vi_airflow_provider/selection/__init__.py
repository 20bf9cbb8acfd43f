"""What a DAG author writes: arguments, which flows are selected, what a flow is to be."""

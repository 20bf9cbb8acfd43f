"""Sensors: hold a DAG until a flow meets a condition."""

"""Waiting for flows, without Airflow."""

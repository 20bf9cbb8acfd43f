"""Benchmarks of the provider against the vendor's SDK and Airflow's HTTP provider, side by side on one machine.

``make bench`` measures, ``make test-smoke`` runs every suite at a very small size. Not part of the wheel.
"""

"""The provider against the vendor's SDK and Airflow's HTTP provider, side by side on one machine.

``make bench`` measures, ``make bench-smoke`` checks that the measuring works. Not part of the wheel.
"""

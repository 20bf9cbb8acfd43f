"""The Vi REST API for flows, usable without Airflow.

``ViClient`` (requests) and ``AsyncViClient`` (aiohttp) move bytes; every decision they take together stands
in ``protocol``. Nothing in this package imports Airflow.
"""

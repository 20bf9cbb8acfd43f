"""The page in Airflow's web UI (Airflow 3.1 and later): a plug-in, a small JSON API, and static files."""

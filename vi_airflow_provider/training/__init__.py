"""Training runs that are started once: identity, take-up, waiting, killing and results, without Airflow."""

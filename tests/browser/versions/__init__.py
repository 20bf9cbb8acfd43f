"""The page on another version of Airflow, or with another auth manager (`make test-ui-versions`)."""

"""What Airflow does when a task fails with an error of Vi."""

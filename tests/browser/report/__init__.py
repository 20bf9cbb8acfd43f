"""The HTML reports of exports in a browser; they need no Airflow."""

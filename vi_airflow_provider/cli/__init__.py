"""The command line: ``vi-airflow …`` everywhere, and ``airflow vi …`` on Airflow 3.2 and later."""

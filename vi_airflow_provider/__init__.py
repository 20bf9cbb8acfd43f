"""Apache Airflow provider for the flows of Datature Vi."""

__version__ = "0.1.0"

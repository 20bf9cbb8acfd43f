"""Apache Airflow provider for the flows of Datature Vi."""

from vi_airflow_provider.provider_info import get_provider_info

__all__ = ["__version__", "get_provider_info"]

__version__ = "0.2.0"

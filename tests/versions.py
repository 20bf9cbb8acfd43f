"""What some Airflows do in another way: marks for the tests that cannot hold there."""

from __future__ import annotations

from importlib.metadata import version

import pytest

extra_may_be_no_json = pytest.mark.skipif(
    version("apache-airflow").startswith("3.0."), reason="Airflow 3.0 finds no connection whose extra is no JSON"
)

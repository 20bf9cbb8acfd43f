"""Skip marks for tests that cannot pass on some versions of Airflow."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

import pytest

AIRFLOW: Final = tuple(int(part) for part in version("apache-airflow").split(".")[:2])

extra_may_be_no_json = pytest.mark.skipif(
    AIRFLOW in {(3, 0), (3, 1)}, reason="Airflow 3.0 and 3.1 do not find a connection whose extra is not JSON"
)
a_person_answers = pytest.mark.skipif(
    AIRFLOW < (3, 3), reason="in dag.test(), a human response reaches the waiting task only since Airflow 3.3"
)
a_sensor_is_rescheduled = pytest.mark.skipif(
    AIRFLOW == (3, 0), reason="in dag.test(), Airflow 3.0 fails every rescheduled sensor"
)

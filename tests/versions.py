"""What some Airflows do in another way: marks for the tests that cannot hold there."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

import pytest

AIRFLOW: Final = tuple(int(part) for part in version("apache-airflow").split(".")[:2])

extra_may_be_no_json = pytest.mark.skipif(
    AIRFLOW in {(3, 0), (3, 1)}, reason="Airflow 3.0 and 3.1 find no connection whose extra is no JSON"
)
a_person_answers = pytest.mark.skipif(
    AIRFLOW < (3, 3), reason="in dag.test(), no answer of a person reaches the waiting task before Airflow 3.3"
)
a_sensor_is_rescheduled = pytest.mark.skipif(
    AIRFLOW == (3, 0), reason="in dag.test(), Airflow 3.0 fails every sensor that was rescheduled"
)

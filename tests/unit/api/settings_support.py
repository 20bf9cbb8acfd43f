"""Settings with what every connection needs, and the message with which others are refused."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.documents import ORGANIZATION_ID, SECRET_KEY
from vi_airflow_provider.api.errors import ViConfigurationError
from vi_airflow_provider.api.settings import ViSettings

GIVEN: Final = {"organization_id": ORGANIZATION_ID, "secret_key": SECRET_KEY}


def settings(**changes: Any) -> ViSettings:
    return ViSettings(**{**GIVEN, **changes})


def refusal(**changes: Any) -> str:
    """The message with which a setting is refused; as an extra where it is one, which must say the same."""
    with pytest.raises(ViConfigurationError) as caught:
        settings(**changes)
    error = caught.value
    assert (error.retryable, error.attempts, error.status_code) == (False, 0, None)
    message = str(error)
    assert "\n" not in message
    return message

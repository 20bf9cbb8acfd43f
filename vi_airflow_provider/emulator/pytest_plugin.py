"""The pytest fixture `vi_emulator`: a local Vi and an Airflow connection to it.

pytest imports this module in every run in an environment that has the provider installed. So it imports
nothing but pytest; the first test that uses the fixture imports and starts the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vi_airflow_provider.emulator.server import Emulator

MARKER = "vi_emulator"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(flows=…, seed=…, page_cap=…, latency_ms=…, run_seconds=…, cursor=…, order=…, read_delay_ms=…, "
        "add_defaults=…, drop_attributes=…, runs=…, put_on_existing=…, …): settings of the fixture in this test",
    )


@pytest.fixture(scope="session")
def _vi_emulator_server() -> Iterator[Emulator]:
    try:
        from vi_airflow_provider.emulator.server import Emulator
    except ModuleNotFoundError as error:
        raise pytest.UsageError(
            f"vi_emulator needs {error.name}: pip install 'vi-airflow-provider[emulator]'"
        ) from error
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def vi_emulator(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _vi_emulator_server: Emulator
) -> Emulator:
    """A local Vi with sample flows, fresh for each test, and Airflow's connection `vi_default` to it."""
    marker = request.node.get_closest_marker(MARKER)
    try:
        _vi_emulator_server.reset(**(marker.kwargs if marker else {}))
    except (TypeError, ValueError) as error:
        raise pytest.UsageError(f"@pytest.mark.{MARKER}: {error}") from error
    for name, value in _vi_emulator_server.environment.items():
        monkeypatch.setenv(name, value)
    return _vi_emulator_server

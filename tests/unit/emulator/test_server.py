from __future__ import annotations

import json
import shlex
import socket
import threading
from typing import Any

import pytest

from tests.unit.emulator.support import ClientFactory, FakeClock
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID, DEFAULT_SECRET_KEY, Settings


def test_serves_as_soon_as_start_returns(client_of: ClientFactory) -> None:
    with Emulator() as emulator:
        assert client_of(emulator)("GET", "").status == 200


def test_stopping_closes_the_socket_and_ends_the_thread(client_of: ClientFactory) -> None:
    before = threading.active_count()
    with Emulator() as emulator:
        assert threading.active_count() > before
        client = client_of(emulator)
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        client("GET", "")
    emulator.stop()


def test_restart_keeps_the_flows(client_of: ClientFactory) -> None:
    emulator = Emulator(flows=3)
    with emulator:
        client_of(emulator)("DELETE", f"/flows/{emulator.store.flow_ids()[0]}")
    with emulator:
        assert len(client_of(emulator)("GET", "/flows").json["items"]) == 2


def test_two_emulators_are_independent(client_of: ClientFactory) -> None:
    with Emulator(flows=1) as one, Emulator(flows=2) as two:
        assert one.url != two.url
        assert [len(client_of(e)("GET", "/flows").json["items"]) for e in (one, two)] == [1, 2]


def test_port_in_use_raises_on_start() -> None:
    with Emulator() as emulator:
        port = int(emulator.url.rpartition(":")[2])
        with pytest.raises(OSError, match="Address already in use"):
            Emulator(port=port).start()


def test_a_stopped_emulator_has_no_url() -> None:
    with pytest.raises(RuntimeError, match="not running"):
        _ = Emulator().url


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_ipv6_addresses_are_bracketed(client_of: ClientFactory) -> None:
    try:
        emulator = Emulator(host="::1").start()
    except OSError:
        pytest.skip("no IPv6 loopback address")
    with emulator:
        assert emulator.url.startswith("http://[::1]:")
        assert client_of(emulator)("GET", "//_emulator/health").status == 200


def test_airflow_connection_is_complete() -> None:
    with Emulator() as emulator:
        expected = {
            "conn_type": "vi",
            "host": emulator.url,
            "login": DEFAULT_ORGANIZATION_ID,
            "password": DEFAULT_SECRET_KEY,
            "extra": {"ui_url_template": f"{emulator.url}/org/{{organization_id}}/flows/{{flow_id}}"},
        }
        assert emulator.connection == expected
        assert json.loads(emulator.environment["AIRFLOW_CONN_VI_DEFAULT"]) == expected
        assert shlex.split(emulator.export_line) == ["export", f"AIRFLOW_CONN_VI_DEFAULT={emulator.airflow_conn}"]


def test_reset_returns_to_the_initial_settings(client_of: ClientFactory) -> None:
    with Emulator(flows=12, page_cap=5) as emulator:
        client = client_of(emulator)
        emulator.reset(page_cap=2)
        assert len(client("GET", "/flows").json["items"]) == 2
        emulator.reset()
        assert len(client("GET", "/flows").json["items"]) == 5


def test_clock_can_be_injected(client_of: ClientFactory, clock: FakeClock, spec: dict[str, Any]) -> None:
    with Emulator(flows=0, clock=clock, run_seconds=100) as emulator:
        client = client_of(emulator)
        created = client("PUT", "/runs/r1", {"spec": {"flow": spec}}).json
        assert created["metadata"]["timeCreated"] == clock.now
        clock.advance(100)
        finished, *_ = client("GET", "/runs/r1").json["status"]["conditions"]
        assert (finished["condition"], finished["status"]) == ("Finished", "Reached")


def test_default_key_has_the_form_that_clients_check() -> None:
    assert DEFAULT_SECRET_KEY.startswith("dtvi_")
    assert len(DEFAULT_SECRET_KEY) == 103


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flows": -1}, "flows must not be negative"),
        ({"organization_id": "../x"}, "organization id must be"),
        ({"organization_id": "a\n"}, "organization id must be"),
        ({"organization_id": ""}, "organization id must be"),
        ({"secret_key": "dtvi_short"}, "secret key must be"),
        ({"secret_key": "x" * 103}, "secret key must be"),
        ({"secret_key": "dtvi_" + "a" * 97 + "\n"}, "secret key must be"),
        ({"secret_key": "dtvi_" + "é" * 98}, "secret key must be"),
        ({"latency_ms": -0.1}, "latency must be"),
        ({"latency_ms": float("nan")}, "latency must be"),
        ({"page_cap": 0}, "page cap must be"),
        ({"run_seconds": 0}, "run seconds must be"),
    ],
)
def test_invalid_settings_raise_one_line_without_the_key(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Settings(**changes)
    assert "\n" not in str(caught.value)
    assert str(changes.get("secret_key", "\n")) not in str(caught.value)

"""A local Datature Vi: the server side of the API of flows, runs and training projects, for demos, examples and tests.

It shares no code with `vi_airflow_provider.api`, so that neither can hide the other's mistakes. Importing this
package must stay cheap: every pytest run in an environment that has the provider installed imports it, through
the entry point of `pytest_plugin`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vi_airflow_provider.emulator.fault_rules import Fault
    from vi_airflow_provider.emulator.server import Emulator

__all__ = ["Emulator", "Fault"]


def __getattr__(name: str) -> Any:
    if name == "Emulator":
        from vi_airflow_provider.emulator.server import Emulator

        return Emulator
    if name == "Fault":
        from vi_airflow_provider.emulator.fault_rules import Fault

        return Fault
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

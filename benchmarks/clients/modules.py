"""``python -m benchmarks.clients.modules NAME…``: the cost of importing modules on top of Airflow's base classes.

A DAG file is parsed in a process that has loaded Airflow. Prints the seconds and the third-party packages that were
imported as well.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module


def main() -> None:
    """Import the base classes, then the modules, and print the time taken."""
    import airflow.sdk

    airflow.sdk.BaseOperator, airflow.sdk.BaseSensorOperator  # noqa: B018 - imported on attribute access
    before = set(sys.modules)
    began = time.perf_counter()
    for name in sys.argv[1:]:
        import_module(name)
    seconds = time.perf_counter() - began
    new = set(sys.modules) - before
    packages = {name.partition(".")[0] for name in new} - {name.partition(".")[0] for name in before}
    own = {name.partition(".")[0] for name in sys.argv[1:]} | sys.stdlib_module_names
    foreign = sorted(name for name in packages - own if not name.startswith("_"))
    print(json.dumps({"wall": seconds, "modules": len(new), "foreign": foreign}))


if __name__ == "__main__":
    main()

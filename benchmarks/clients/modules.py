"""``python -m benchmarks.clients.modules NAME…``: what importing these modules adds to Airflow's own base classes.

A DAG file is read in a process that has loaded Airflow. Prints the seconds, and the foreign packages that came along.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module


def main() -> None:
    """Import the base classes, then the modules, and say what that took."""
    import airflow.sdk

    airflow.sdk.BaseOperator, airflow.sdk.BaseSensorOperator  # noqa: B018 - loaded when they are asked for
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

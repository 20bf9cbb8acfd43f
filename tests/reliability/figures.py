"""Store the figures of a long test, with the date and the machine, for `docs/reliability.md`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def save(path: Path, figures: Mapping[str, Any]) -> None:
    """Write figures to a file, with the date and the machine."""
    bytes_ = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    context = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(bytes_ / 2**30, 1),
    }
    path.write_text(json.dumps({**context, **figures}, indent=2) + "\n")

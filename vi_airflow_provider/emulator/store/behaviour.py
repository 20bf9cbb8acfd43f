"""How the emulated server treats documents, where the real one is unknown or may differ between installations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

CursorKind = Literal["key", "offset"]
Order = Literal["created", "updated", "unsorted"]

#: The settings that are one of several words.
CHOICES: Final = {"cursor": get_args(CursorKind), "order": get_args(Order)}


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """Validated on construction: an invalid value raises a ValueError of one line.

    * `cursor`: a page cursor names the last document ("key"), or counts documents ("offset"); with the latter, a
      document that is deleted between two pages shifts another one past the next page
    * `order`: listings are sorted by creation ("created", newest first) or by last update ("updated"), or are
      in no useful order ("unsorted")
    * `read_delay_ms`: a write is invisible to reads and listings for this time
    * `add_defaults`: the server adds defaults to a spec that is written
    * `drop_attributes`: the server ignores the attributes of a PUT
    * `run_seconds`: how long a run takes from its start to its end
    """

    cursor: CursorKind = "key"
    order: Order = "created"
    read_delay_ms: float = 0
    add_defaults: bool = False
    drop_attributes: bool = False
    run_seconds: float = 3600.0

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}")
        if not (math.isfinite(self.read_delay_ms) and self.read_delay_ms >= 0):
            raise ValueError(f"read delay must be zero or more milliseconds, not {self.read_delay_ms}")
        if not (math.isfinite(self.run_seconds) and self.run_seconds > 0):
            raise ValueError(f"run seconds must be more than 0, not {self.run_seconds}")

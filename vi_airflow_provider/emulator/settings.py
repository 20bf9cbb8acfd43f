"""The settings of an emulator and their validation."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TypedDict

from vi_airflow_provider.emulator.store.behaviour import (
    Behaviour,
    CursorKind,
    DownloadRanges,
    LogShape,
    Order,
    OutputShape,
    OverCap,
    PutOnExisting,
    RunIds,
)

DEFAULT_ORGANIZATION_ID = "e0e0e0e0-0000-4000-8000-000000000001"
# Obviously no real key, yet of the form that clients check: the prefix, 103 characters.
DEFAULT_SECRET_KEY = "dtvi_" + "emulator-only-" * 7

_ORGANIZATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")
_SECRET_KEY = re.compile(r"dtvi_[!-~]{98}")


class Modes(TypedDict, total=False):
    """The settings that can change at any time, without touching the documents."""

    latency_ms: float
    page_cap: int
    run_seconds: float
    cursor: CursorKind
    over_cap: OverCap
    document_delay_ms: float
    order: Order
    read_delay_ms: float
    add_defaults: bool
    drop_attributes: bool
    put_on_existing: PutOnExisting
    run_ids: RunIds
    log_shape: LogShape
    log_cap: int
    output_shape: OutputShape
    download_seconds: float
    download_bytes: int
    download_ranges: DownloadRanges
    download_break: int
    download_pause_ms: float


class Changes(Modes, total=False):
    """The settings that a reset can change; identity and credentials stay."""

    flows: int
    runs: int
    seed: int


class Choices(Changes, total=False):
    """All settings."""

    organization_id: str
    secret_key: str


@dataclass(frozen=True, kw_only=True)
class Settings(Behaviour):
    """Validated on construction: an invalid value raises a ValueError of one line that never contains the key."""

    flows: int = 40
    runs: int = 0
    seed: int = 0
    organization_id: str = DEFAULT_ORGANIZATION_ID
    secret_key: str = DEFAULT_SECRET_KEY
    latency_ms: float = 0
    page_cap: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("flows", "runs"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if not _ORGANIZATION_ID.fullmatch(self.organization_id):
            raise ValueError(
                "organization id must be 1 to 255 letters, digits, '-' or '_' and start with a letter or digit"
            )
        if not _SECRET_KEY.fullmatch(self.secret_key):
            raise ValueError("secret key must be 'dtvi_' and 98 printable ASCII characters, 103 in total")
        if not (math.isfinite(self.latency_ms) and self.latency_ms >= 0):
            raise ValueError(f"latency must be zero or more milliseconds, not {self.latency_ms}")
        if self.page_cap < 1:
            raise ValueError(f"page cap must be 1 or more, not {self.page_cap}")

"""How the emulated server treats documents, where the real one is unknown or may differ between installations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

CursorKind = Literal["key", "offset", "page", "sized"]
OverCap = Literal["cap", "400", "413", "422", "500"]
Order = Literal["created", "updated", "unsorted"]
PutOnExisting = Literal["replace", "restart", "refuse"]
RunIds = Literal["any", "uuid4"]
LogShape = Literal["items", "lines", "data", "text"]
OutputShape = Literal["page", "document"]
DownloadRanges = Literal["etag", "no_etag", "none"]

#: The settings that are one of several words.
CHOICES: Final = {
    "cursor": get_args(CursorKind),
    "over_cap": get_args(OverCap),
    "order": get_args(Order),
    "put_on_existing": get_args(PutOnExisting),
    "run_ids": get_args(RunIds),
    "log_shape": get_args(LogShape),
    "output_shape": get_args(OutputShape),
    "download_ranges": get_args(DownloadRanges),
}


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """Validated on construction: an invalid value raises a ValueError of one line.

    * `cursor`: a page cursor names the last document ("key"), or counts documents ("offset"); with the latter, a
      document that is deleted between two pages shifts another one past the next page. It can also count pages of the
      requested size ("page"), or be valid with the size only that it was issued for ("sized")
    * `over_cap`: a page size above `page_cap` is reduced to it ("cap"), or is an error of this status
    * `document_delay_ms`: what each document adds to the time of its page
    * `order`: listings are sorted by creation ("created", newest first) or by last update ("updated"), or are
      in no useful order ("unsorted")
    * `read_delay_ms`: a write is invisible to reads and listings for this time
    * `add_defaults`: the server adds defaults to a flow spec that is written, also inside a run
    * `drop_attributes`: the server ignores the attributes of a PUT
    * `run_seconds`: how long a run takes from its PUT to its end, a tenth of it in the queue
    * `put_on_existing`: a PUT of an existing run replaces its document, restarts it (and costs again), or is refused
    * `run_ids`: the server accepts any id, or only UUIDs of version 4
    * `log_shape`: logs are items with timestamps, items of bare lines, `{"data": text}` or plain text
    * `log_cap`: the lines that a response of a log has at most, from its start or from `since` on; 0 for no bound
    * `output_shape`: one output is a page of one, or a document
    * `download_seconds`: how long a pre-signed download is valid
    * `download_bytes`: size of a checkpoint, whose content is generated while it is sent; 0 for a short text
    * `download_ranges`: parts of a download can be requested, with an ETag or without one, or not at all
    * `download_break`: the connection closes after this number of bytes of a download; 0 for never
    * `download_pause_ms`: a pause after each 64 KiB of a download
    """

    cursor: CursorKind = "key"
    over_cap: OverCap = "cap"
    document_delay_ms: float = 0
    order: Order = "created"
    read_delay_ms: float = 0
    add_defaults: bool = False
    drop_attributes: bool = False
    run_seconds: float = 3600.0
    put_on_existing: PutOnExisting = "replace"
    run_ids: RunIds = "any"
    log_shape: LogShape = "items"
    log_cap: int = 0
    output_shape: OutputShape = "page"
    download_seconds: float = 900.0
    download_bytes: int = 0
    download_ranges: DownloadRanges = "etag"
    download_break: int = 0
    download_pause_ms: float = 0

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}")
        for name in ("read_delay_ms", "document_delay_ms", "download_pause_ms"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                noun = name.removesuffix("_ms").replace("_", " ")
                raise ValueError(f"{noun} must be zero or more milliseconds, not {value}")
        for name in ("log_cap", "download_bytes", "download_break"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name.replace('_', ' ')} must be zero or more, not {getattr(self, name)}")
        for name in ("run_seconds", "download_seconds"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name.replace('_', ' ')} must be more than 0, not {value}")

"""The connection that the tests of ``ViHook`` define."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.documents import ORGANIZATION_ID

HOST: Final = "https://vi.example"
FLOWS: Final = f"{HOST}/workspaces/{ORGANIZATION_ID}/flows"

Connect = Callable[..., None]

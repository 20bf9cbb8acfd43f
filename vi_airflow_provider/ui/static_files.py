"""The page's static files: its own, and the drawing code that it shares with the HTML report of an export."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Final

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

import vi_airflow_provider.audit.report

_OWN: Final = Path(str(files("vi_airflow_provider.ui"))) / "static"
_SHARED: Final = Path(str(files(vi_airflow_provider.audit.report)))
#: Files of the report that the page imports; its other files are not served.
SHARED_NAMES: Final = frozenset({"dom.js", "table.js", "flows.js", "flows.css", "curves.js"})


class PageFiles(StaticFiles):
    """Serves both folders at one address, so that modules import each other as they do in the report."""

    def __init__(self) -> None:
        super().__init__(directory=_OWN)

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Find a file: the page's own, or one that is shared."""
        if path in SHARED_NAMES:
            shared = _SHARED / path
            return (str(shared), shared.stat()) if shared.is_file() else ("", None)
        return super().lookup_path(path)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Respond with a file that the browser checks for changes before it uses it again."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

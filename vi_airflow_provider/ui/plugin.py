"""``ViPlugin``: the plug-in by which Airflow finds the page (entry point ``airflow.plugins``).

Every task process imports this module, so it imports nothing but what Airflow has loaded. The web server alone reads
the properties, and only those build the app.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import AirflowPlugin, conf

from vi_airflow_provider import __version__

log = logging.getLogger(__name__)

#: Where the app is mounted, below the path of Airflow's own ``base_url``.
PREFIX: Final = "/vi"
#: The first version of Airflow whose UI takes a page of this kind.
FIRST_VERSION: Final = (3, 1)


class ViPlugin(AirflowPlugin):
    """Adds *Datature Vi* to the menu *Browse*. Airflow before 3.1 does not read these properties, or gets none."""

    name = "vi"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The API and the static files; none if they cannot be built, which must not stop Airflow's API server."""
        try:
            if not _is_wanted():
                return []
            from vi_airflow_provider.ui.app import create_app

            app = create_app(_configured_connections(), freeze=True)
            return [{"app": app, "url_prefix": PREFIX, "name": "Datature Vi"}]
        except Exception:
            log.exception("The page of Datature Vi is not available")
            return []

    @cached_property
    def react_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The page and its entry in the menu."""
        if not self.fastapi_apps:
            return []
        return [
            {
                "name": "Datature Vi",
                "bundle_url": _static("bundle.js"),
                "destination": "nav",
                "category": "browse",
                "url_route": "vi",
                "icon": _static("icon.svg"),
                "icon_dark_mode": _static("icon-dark.svg"),
            }
        ]


def _is_wanted() -> bool:
    version = tuple(int(part) for part in airflow_version.split(".")[:2])
    return version >= FIRST_VERSION and conf.getboolean("vi", "ui_enabled", fallback=True)


def _configured_connections() -> list[str]:
    text = conf.get("vi", "ui_connections", fallback="") or ""
    return [name.strip() for name in text.split(",") if name.strip()]


def _static(name: str) -> str:
    """Return the path of a static file; an upgrade changes it, so that browsers do not mix versions."""
    base = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    return f"{base}{PREFIX}/static/{name}?{urlencode({'v': __version__})}"

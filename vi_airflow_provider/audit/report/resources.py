"""What a report consists of: one template, one style and one script, joined from files that others share.

A page that is opened from a bucket cannot import modules. So each module becomes a function that returns its exports,
and the script is these functions, in an order in which a module follows those that it imports.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

_STYLES: Final = ("flows.css", "report.css")
#: Each module follows those that it imports.
_MODULES: Final = ("dom.js", "table.js", "flows.js", "curves.js", "runs.js", "changes.js", "report.js")
_IMPORT: Final = re.compile(r'^import (\{[^}]+\}) from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:const|function\*?) (\w+))", re.MULTILINE)


def template() -> str:
    """Return the page, with a ``{{slot}}`` for each part."""
    return _text("template.html")


def style() -> str:
    """Return the style of the page."""
    return "\n".join(map(_text, _STYLES))


def index_template() -> str:
    """Return the page that lists the exports of a folder, with slots as those of :func:`template`."""
    return _text("index.html")


def index_style() -> str:
    """Return the style of that page."""
    return "\n".join(map(_text, (*_STYLES, "index.css")))


def script() -> str:
    """Return the modules as one script."""
    return "\n".join(('"use strict";', "(() => {", *map(_as_function, _MODULES), "})();"))


def _as_function(name: str) -> str:
    text = _text(name)
    exported = ", ".join(found[1] for found in _EXPORT.finditer(text))
    body = _EXPORT.sub("", _IMPORT.sub(r"const \1 = \2_js;", text))
    return f"const {name.replace('.', '_')} = (() => {{\n{body}\nreturn {{ {exported} }};\n}})();"


def _text(name: str) -> str:
    return files("vi_airflow_provider.audit.report").joinpath(name).read_text("utf-8")

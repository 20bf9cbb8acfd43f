"""Settings of Sphinx, which builds the documentation site: ``make docs``."""

from __future__ import annotations

from typing import Any

from vi_airflow_provider import __version__

project = "vi-airflow-provider"
author = "the vi-airflow-provider maintainers"
copyright = author  # noqa: A001 - the name that Sphinx reads
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build", "measured"]

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block", "colon_fence"]
#: Names of code blocks that pages use, for the highlighter.
highlight_language = "none"

autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

html_theme = "furo"
html_title = f"vi-airflow-provider {__version__}"
html_show_sphinx = False
html_copy_source = False
html_show_copyright = False
html_theme_options: dict[str, Any] = {"navigation_with_keys": True}

"""A page over the exports of a folder: a row for each, with what changed, and links to its files.

The page has no script. It follows from the folder alone: the same files give the same bytes.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from vi_airflow_provider import __version__
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.audit import plan
from vi_airflow_provider.audit.index import Entry, Index, Series, read_index
from vi_airflow_provider.audit.manifest import ExportError
from vi_airflow_provider.audit.report import resources
from vi_airflow_provider.audit.report.markup import content_security_policy, show_time, text
from vi_airflow_provider.audit.report.trend import KINDS, trend
from vi_airflow_provider.storage.failures import reason_of
from vi_airflow_provider.storage.files import is_folder, write_atomically
from vi_airflow_provider.storage.places import LOCAL
from vi_airflow_provider.storage.urls import resolve_destination

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from vi_airflow_provider.audit.diff import Kind

#: The name of the page in the folder, unless another place is chosen.
NAME: Final = "index.html"
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


class IndexNotWrittenError(Exception):
    """The page cannot be written; an earlier one is unchanged."""


def write_index(folder: str, output: str | None = None) -> tuple[ObjectStoragePath, Index]:
    """Write a page over the exports of a folder and its subfolders; return where it is, and what it lists.

    :param folder: absolute path or URL
    :param output: the page; by default ``index.html`` in the folder
    :raises ViValidationError: a place is not absolute, or carries a secret, or the page has not the name of one
    :raises ExportError: the folder has no exports; nothing is written
    :raises IndexNotWrittenError: the page cannot be written
    """
    place = resolve_destination("folder", folder)
    page = place / NAME if output is None else _page("page", output)
    index = read_index(place)
    if not (index.series or index.unreadable):
        raise ExportError(f"{place} has no exports")
    content = index_page(place, page, index).encode("utf-8")
    try:
        write_atomically(page, content)
    except Exception as error:  # whatever the file system's driver raises
        reason = f"{page} cannot be written: {reason_of(error)}"
    else:
        return page, index
    raise IndexNotWrittenError(reason)


def _page(name: str, value: str) -> ObjectStoragePath:
    """Return the place of a page, which replaces no export and no archive."""
    page = resolve_destination(name, value)
    if not (is_folder(page) or page.name.lower().endswith((".html", ".htm"))):
        raise ViValidationError(f"{name}: {value!r:.200} does not end with .html")
    return page


def summary_line(page: ObjectStoragePath, index: Index) -> str:
    """Return a sentence for a command line."""
    return f"{page}: {index.count} exports, unreadable manifests: {len(index.unreadable)}"


def index_page(folder: ObjectStoragePath, page: ObjectStoragePath, index: Index) -> str:
    """Return the page as HTML.

    :param page: where it will be, for the links
    """
    style = resources.index_style()
    slots = {
        "csp": content_security_policy(style),
        "style": style,
        "folder": text(folder),
        "unreadable": "".join(_unreadable(index)),
        "series": "".join(part for number, each in enumerate(index.series) for part in _series(each, number, page)),
        "version": text(__version__),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: slots[slot[1]], resources.index_template())


def _unreadable(index: Index) -> Iterator[str]:
    if index.unreadable:
        manifests = "1 manifest" if len(index.unreadable) == 1 else f"{len(index.unreadable):,} manifests"
        yield f'<div class="caveat unreadable" role="note"><strong>{manifests} cannot be read.</strong>\n<ul>\n'
        for reason in index.unreadable:
            yield f"<li>{text(reason)}</li>\n"
        yield "</ul></div>\n"


def _series(series: Series, number: int, page: ObjectStoragePath) -> Iterator[str]:
    newest, noun = series.newest.described, series.newest.subject.noun
    count = len(series.entries)
    yield (
        f'<section aria-labelledby="series-{number}">\n<h2 id="series-{number}">{noun.title()}s of '
        f'<bdi>{text(newest.organization_id)}</bdi> <span class="count">{count:,} export{"s" * (count != 1)}, '
        f"{text(newest.format)}</span></h2>\n"
    )
    if selection := plan.describe(newest.filters):
        yield f'<p class="quiet">Selected by <code>{text(selection)}</code></p>\n'
    yield from trend(series, number)
    yield '<table class="exports">\n<thead><tr><th scope="col">Exported</th>'
    yield f'<th scope="col" class="number">{noun.title()}s</th>'
    for kind in KINDS:
        yield f'<th scope="col" class="number {kind}"><span>{kind.title()}</span></th>'
    yield '<th scope="col" class="files">Files</th></tr></thead>\n<tbody>\n'
    for entry in series.entries:
        yield from _row(entry, page)
    yield "</tbody>\n</table>\n</section>\n"


def _row(entry: Entry, page: ObjectStoragePath) -> Iterator[str]:
    yield f"<tr><td>{show_time(entry.created_at)}</td>"
    yield f'<td class="number">{entry.described.count:,}</td>'
    for kind in KINDS:
        yield _count(entry, kind)
    yield '<td class="files">'
    if entry.data:
        yield _link(entry.data, page, "data", f" ({_size(entry.described.size)})")
    else:
        yield '<span class="missing">data is missing</span>'
    yield _link(entry.manifest, page, "manifest")
    if entry.report:
        yield _link(entry.report, page, "report")
    if entry.not_compared:
        yield f'<span class="caveat">Not compared: {text(entry.not_compared)}</span>'
    yield "</td></tr>\n"


def _count(entry: Entry, kind: Kind) -> str:
    if entry.changes is None:
        return '<td class="number"><span title="Not compared">–</span></td>'  # noqa: RUF001 - a dash
    count = entry.changes[kind]
    return f'<td class="number{f" {kind}" if count else ""}">{count:,}</td>'


def _link(path: ObjectStoragePath, page: ObjectStoragePath, label: str, detail: str = "") -> str:
    """Return a link that is relative to the page; without one that a browser could follow, the label."""
    shown = f'{label}<span class="size">{detail}</span>' if detail else label
    target = posixpath.relpath(path.path, page.parent.path)
    both_local = {path.protocol, page.protocol} <= LOCAL
    if both_local or (path.protocol == page.protocol and not target.startswith("../")):
        # A name may not be UTF-8, and may contain a colon.
        return f'<a href="./{text(quote(target.encode("utf-8", "surrogateescape")))}">{shown}</a>'
    return f'<span title="{text(path)}">{shown}</span>'


def _size(size: int) -> str:
    """Return a number of bytes as a person reads it."""
    power = min((len(str(size)) - 1) // 3, len(_UNITS) - 1)
    return f"{size / 1000**power:,.1f} {_UNITS[power]}" if power else f"{size} B"

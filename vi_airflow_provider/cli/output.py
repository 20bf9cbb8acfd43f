"""The formats of results: aligned columns for people, with and without lines; JSON and YAML for programs.

Rows are printed as they arrive, in every format, so memory does not grow with their number. JSON that is cut off by an
error is not closed, and no parser takes it for complete.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from vi_airflow_provider.storage.console import print_lines, printable

Row = Mapping[str, Any]

#: Rows that are aligned with each other; later ones have at least the same widths.
BATCH: Final = 100
#: Characters of a cell in a table of rows, which is cut, except in the last column; ``plain`` has all of it.
MAX_CELL: Final = 60

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def show_rows(output: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Print rows in a format.

    :param columns: their keys, in order
    :raises OutputError: they cannot be written
    """
    print_lines(_ROWS[output](columns, rows))


def show_document(output: str, document: Mapping[str, Any], facts: Row | None = None) -> None:
    """Print one document: as it is for programs, and as a table of its facts for people.

    :param facts: what people should see, the document's own fields by default
    :raises OutputError: it cannot be written
    """
    if output == "json":
        lines = json.dumps(finite(document), indent=2).splitlines()
    elif output == "yaml":
        lines = _yaml(finite(document))
    else:
        pairs = [{"field": name, "value": value} for name, value in (document if facts is None else facts).items()]
        lines = list(_TEXTS[output](("field", "value"), pairs, math.inf))
    print_lines(lines)


def iso_time(ms: int | None) -> str | None:
    """Return a time of the API (milliseconds since the epoch) as ISO 8601 text; one out of range as the number."""
    if ms is None:
        return None
    try:
        time = _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return str(ms)
    return time.isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")


def finite(value: Any) -> Any:
    """Return JSON data with null for each number that is not finite: JSON has none."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- rows for programs ---------------------------------------------------------------------------------------------


def _json_rows(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    line = None
    for row in rows:
        yield "[" if line is None else f"{line},"
        # ASCII, whatever the encoding of the output, and without control characters.
        line = json.dumps(finite(row))
    yield from ("[]",) if line is None else (line, "]")


def _yaml_rows(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    number = 0
    for number, row in enumerate(rows, 1):  # noqa: B007 - used after the loop
        yield from _yaml([finite(row)])
    if not number:
        yield "[]"


def _yaml(value: Any) -> list[str]:
    import yaml  # a dependency of Airflow

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml takes a fifth of the time
    text: str = yaml.dump(value, Dumper=dumper, sort_keys=False, width=1 << 30)
    return text.splitlines()


# --- rows for people -----------------------------------------------------------------------------------------------


def _plain_rows(columns: Sequence[str], rows: Iterable[Row], widest: float = math.inf) -> Iterator[str]:
    return _aligned(columns, rows, "  ", widest, rule=None)


def _table_rows(columns: Sequence[str], rows: Iterable[Row], widest: float = MAX_CELL) -> Iterator[str]:
    return _aligned(columns, rows, " | ", widest, rule="=+=")


def _aligned(
    columns: Sequence[str], rows: Iterable[Row], separator: str, widest: float, rule: str | None
) -> Iterator[str]:
    from rich.cells import cell_len  # a dependency of Airflow

    widths = [len(column) for column in columns]
    remaining, is_first = iter(rows), True
    # Nothing is aligned with what follows the last column, so it is never cut.
    bounds = [*(widest for _ in columns[1:]), math.inf]
    while batch := [[*map(_cell, map(row.get, columns), bounds)] for row in islice(remaining, BATCH)]:
        widths = [max(width, *map(cell_len, cells)) for width, *cells in zip(widths, *batch, strict=True)]
        if is_first:
            yield _joined(columns, widths, separator, len)
            if rule is not None:
                yield rule.join("=" * width for width in widths)
        for cells in batch:
            yield _joined(cells, widths, separator, cell_len)
        is_first = False
    if is_first:
        yield "No data found"


def _joined(cells: Sequence[str], widths: Sequence[int], separator: str, measure: Callable[[str], int]) -> str:
    padded = (cell + " " * (width - measure(cell)) for cell, width in zip(cells, widths, strict=True))
    return separator.join(padded).rstrip()


def _cell(value: Any, widest: float) -> str:
    text = printable(_text(value))
    return text if len(text) <= widest else f"{text[: int(widest) - 3]}..."


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case Mapping():
            return ", ".join(f"{key}={_text(item)}" for key, item in value.items())
        case list() | tuple():
            return ", ".join(map(_text, value))
    return str(value)


_TEXTS: Final[Mapping[str, Callable[[Sequence[str], Iterable[Row], float], Iterator[str]]]] = {
    "table": _table_rows,
    "plain": _plain_rows,
}
_ROWS: Final[Mapping[str, Callable[[Sequence[str], Iterable[Row]], Iterator[str]]]] = {
    **{"table": _table_rows, "plain": _plain_rows},
    **{"json": _json_rows, "yaml": _yaml_rows},
}

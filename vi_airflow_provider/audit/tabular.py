"""Documents as a table, one row per document: csv that is safe in a spreadsheet, and parquet."""

from __future__ import annotations

import csv
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any, Final, Generic, TypeVar

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.errors import ViValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from vi_airflow_provider.api.models import Flow

T = TypeVar("T")

#: A cell that begins with one of these is a formula; includes the wide and small forms of East Asian text.
_SIGNS: Final = "=+@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b-"
#: After which a cell may begin, apart from its start: semicolon and tab, for a spreadsheet that splits at these; the
#: end of a line, for a program that does not support quoted line breaks.
_SEPARATORS: Final = ";\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"
_BEGINS: Final = re.compile(rf"(?<=[{_SEPARATORS}])")
#: What may precede the sign: some programs strip blanks and ignore invisible characters. It includes everything that
#: a cell may begin after, except the semicolon.
_CUT_OFF: Final = r"[\s\x00-\x1f\x7f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\"]"
#: A sign and what precedes it. Each run is matched once, from its start, so that a long one takes linear time.
_SIGN: Final = re.compile(rf"(?:^|(?<=;)|(?<!{_CUT_OFF})(?={_CUT_OFF}))({_CUT_OFF}*+)([{_SIGNS}])")
#: A cell that begins with a tab or a line break may become a formula without a sign, too; quotes before it may be
#: stripped.
_BLANK: Final = re.compile(rf"^(?=[\t\r\n])|(?<=[{_SEPARATORS.replace(chr(9), '')}])(?=\"*\t)")
_BATCH: Final = 500
#: A sign in JSON is escaped by as many characters.
_LONGEST_ESCAPE: Final = 6

#: The columns of csv and parquet of flows, and their types.
COLUMNS: Final = {
    **dict.fromkeys(("flow_id", "name", "schema", "training_project"), "string"),
    **dict.fromkeys(("time_created", "last_updated"), "timestamp"),
    **dict.fromkeys(("generation", "block_count"), "integer"),
    **{"blocks": "string", "attributes": "json"},
    **dict.fromkeys(("digest", "etag", "self_link", "organization_id"), "string"),
    "spec": "json",
}

log = logging.getLogger(__name__)


#: The longest cell that Excel reads whole, in UTF-16 code units. A longer one is split.
MAX_CELL: Final = 32_767


def _row(flow: Flow) -> dict[str, Any]:
    forms = flow.canonical_forms()  # before the blocks are read, which makes it expensive
    spec, metadata = flow.spec, flow.metadata
    return {
        "flow_id": flow.flow_id,
        "name": spec.name,
        "schema": spec.schema,
        "training_project": spec.training_project,
        "time_created": metadata.time_created,
        "last_updated": metadata.last_updated,
        "generation": metadata.generation,
        "block_count": len(spec.blocks),
        "blocks": " > ".join(block.block for block in spec.blocks),
        "attributes": json_text(metadata.attributes),
        "digest": forms.digest(),
        "etag": flow.etag,
        "self_link": flow.self_link,
        "organization_id": flow.organization_id,
        "spec": forms.spec_text().decode("utf-8", "replace"),
    }


@dataclass(frozen=True)
class Table(Generic[T]):
    """The columns of a kind of document.

    :param noun: what a row is, in the singular
    :param columns: name and type of each column; the first one identifies a row
    :param legible_times: the columns that only a csv has, behind the others, and the times that they show: those of
        parquet are legible as they are
    :param row: returns the values of the columns
    """

    noun: str
    columns: Mapping[str, str]
    legible_times: Mapping[str, str]
    row: Callable[[T], dict[str, Any]]


FLOW_TABLE: Final[Table[Flow]] = Table(
    "flow", COLUMNS, {"created_at": "time_created", "updated_at": "last_updated"}, _row
)


def write_csv(documents: Iterable[T], file: IO[str], pieces: Mapping[str, int], table: Table[T], *, bom: bool) -> None:
    """Write a csv as in RFC 4180, with all text quoted.

    :param file: open for text, without translation of line ends
    :param pieces: columns of which cells are split, and into how many, as of :func:`count_pieces`
    :param bom: begin with a byte order mark, by which Excel recognizes UTF-8
    """
    more = [(name, number) for name, most in pieces.items() for number in range(1, most)]
    if bom:
        file.write("\ufeff")
    writer = csv.writer(file, lineterminator="\r\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([*table.columns, *table.legible_times, *(f"{name}_{number + 1}" for name, number in more)])
    for document in documents:
        row = table.row(document)
        cells = _cells(row, table)
        writer.writerow(
            [
                *(cell[0] for cell in cells.values()),
                *(_iso_time(row[name]) for name in table.legible_times.values()),
                *(cells[name][number] if number < len(cells[name]) else "" for name, number in more),
            ]
        )


def _cells(row: Mapping[str, Any], table: Table[T]) -> dict[str, list[Any]]:
    """Return the cells of a row by their columns, each in as many pieces as it needs."""
    where = f"{table.noun} {row[f'{table.noun}_id']!r:.80}"
    return {name: _split(_cell(row[name], kind), where, name) for name, kind in table.columns.items()}


def count_pieces(documents: Iterable[T], table: Table[T]) -> dict[str, int]:
    """Return the columns of a csv with cells that Excel would cut, and into how many pieces these are split."""
    pieces: dict[str, int] = {}
    found: list[str] = []
    for document in documents:
        row = table.row(document)
        for name, cell in _cells(row, table).items():
            if len(cell) > 1:
                pieces[name] = max(len(cell), pieces.get(name, 1))
                found.append(f"{name} of {table.noun} {row[f'{table.noun}_id']!r:.80}")
    if found:
        log.warning(
            "%d cells are longer than the %s characters that Excel reads, and are split into further columns: %s%s",
            *(len(found), f"{MAX_CELL:,}", ", ".join(found[:5]), ", …" if found[5:] else ""),
        )
    return pieces


def may_have_long_cells(size: int) -> bool:
    """Return whether a document of this size as JSON can have a cell that Excel would cut."""
    return size * _LONGEST_ESCAPE > MAX_CELL


def _split(cell: Any, where: str, name: str) -> list[Any]:
    """Split a cell that Excel would cut. A piece begins with a letter, so that none becomes a formula or a number."""
    if not isinstance(cell, str) or len(cell) * 2 <= MAX_CELL or _utf16_length(cell) <= MAX_CELL:
        return [cell]
    most = MAX_CELL if cell.isascii() else MAX_CELL // 2
    pieces, start = [], 0
    while len(cell) - start > most:
        end = next((at for at in range(start + most, start, -1) if cell[at].isalpha() and cell[at - 1] != "\\"), 0)
        if not end:
            raise ViValidationError(
                f"{where}: {name} has more than {MAX_CELL:,} characters without a letter, which no "
                "cell of a spreadsheet can hold; export to jsonl or parquet"
            )
        pieces.append(cell[start:end])
        start = end
    return [*pieces, cell[start:]]


def _utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _iso_time(ms: int | None) -> str:
    """Return a time of the wire as ISO 8601 in UTC; empty for one that is absent or beyond the calendar."""
    if ms is None:
        return ""
    try:
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    except OverflowError:
        return ""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cell(value: Any, kind: str) -> Any:
    """Neutralize formulas: a leading quote makes a cell text in every spreadsheet; in JSON, the sign is escaped."""
    if not isinstance(value, str) or _is_harmless(value, kind):
        return value
    return _SIGN.sub(_escaped, value) if kind == "json" else _BLANK.sub("'", _SIGN.sub(_quoted, value))


def _is_harmless(text: str, kind: str) -> bool:
    """Return whether text begins like a word, or with a bracket of JSON, and no other cell can begin in it."""
    # Almost always; the patterns take a hundred times longer.
    return (kind == "json" or text[:1].isalnum()) and not any(map(text.__contains__, _SEPARATORS))


def _quoted(found: re.Match[str]) -> str:
    first = "'" if found.start() == 0 or _is_behind_semicolon(found) else ""
    return first + _BEGINS.sub("'", found[1]) + found[2]


def _escaped(found: re.Match[str]) -> str:
    begins = _is_behind_semicolon(found) or _BEGINS.search(found[1])
    return f"{found[1]}\\u{ord(found[2]):04x}" if begins else found[0]


def _is_behind_semicolon(found: re.Match[str]) -> bool:
    return found.string.endswith(";", 0, found.start())


def write_parquet(documents: Iterable[T], file: IO[bytes], table: Table[T]) -> None:
    """Write a parquet file, with typed columns.

    :raises ImportError: pyarrow is missing
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "string": pa.string(),
        "json": pa.string(),
        "timestamp": pa.timestamp("ms", tz="UTC"),
        "integer": pa.int64(),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in table.columns.items()])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _batches(map(table.row, documents)):
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def json_text(value: Any) -> str:
    """Return JSON data as the text of a cell."""
    return canonical_json(value).decode("utf-8", "replace")

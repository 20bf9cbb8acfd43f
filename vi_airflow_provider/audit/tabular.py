"""Flows as a table, one row per flow: csv that is safe in a spreadsheet, and parquet."""

from __future__ import annotations

import csv
import re
from typing import IO, TYPE_CHECKING, Any, Final

from vi_airflow_provider.api.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vi_airflow_provider.api.models import Flow

#: A cell that begins with one of these is a formula; includes the wide and small forms of East Asian text.
_SIGNS: Final = "=+@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b-"
#: Where a cell may begin: at its start; after each semicolon or tab, for a spreadsheet that splits at these; on each
#: line, for a program that does not support quoted line breaks.
_BEGINS: Final = re.compile(r"(?<=[;\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029])")
#: What may precede the sign: some programs strip blanks and ignore invisible characters. It includes everything that
#: a cell may begin after, except the semicolon.
_CUT_OFF: Final = r"[\s\x00-\x1f\x7f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\"]"
#: A sign and what precedes it. Each run is matched once, from its start, so that a long one takes linear time.
_SIGN: Final = re.compile(rf"(?:^|(?<=;)|(?<!{_CUT_OFF})(?={_CUT_OFF}))({_CUT_OFF}*+)([{_SIGNS}])")
#: A cell that begins with a tab or a line break may become a formula without a sign, too; quotes before it may be
#: stripped.
_BLANK: Final = re.compile(r"^(?=[\t\r\n])|(?<=[;\n\v\f\r\x1c-\x1e\x85\u2028\u2029])(?=\"*\t)")
_BATCH: Final = 500

#: The columns of csv and parquet, and their types.
COLUMNS: Final = {
    **dict.fromkeys(("flow_id", "name", "schema", "training_project"), "string"),
    **dict.fromkeys(("time_created", "last_updated"), "timestamp"),
    **dict.fromkeys(("generation", "block_count"), "integer"),
    **{"blocks": "string", "attributes": "json"},
    **dict.fromkeys(("digest", "etag", "self_link", "organization_id"), "string"),
    "spec": "json",
}


def _row(flow: Flow) -> dict[str, Any]:
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
        "attributes": _json(metadata.attributes),
        "digest": flow.digest,
        "etag": flow.etag,
        "self_link": flow.self_link,
        "organization_id": flow.organization_id,
        "spec": _json(spec.to_wire()),
    }


def write_csv(flows: Iterable[Flow], file: IO[str]) -> None:
    """Write a csv as in RFC 4180, with all text quoted.

    :param file: open for text, without translation of line ends
    """
    writer = csv.writer(file, lineterminator="\r\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(COLUMNS)
    for flow in flows:
        row = _row(flow)
        writer.writerow([_cell(row[name], kind) for name, kind in COLUMNS.items()])


def _cell(value: Any, kind: str) -> Any:
    """Neutralize formulas: a leading quote makes a cell text in every spreadsheet; in JSON, the sign is escaped."""
    if kind == "json":
        return _SIGN.sub(_escaped, value)
    return _BLANK.sub("'", _SIGN.sub(_quoted, value)) if isinstance(value, str) else value


def _quoted(found: re.Match[str]) -> str:
    first = "'" if found.start() == 0 or _is_behind_semicolon(found) else ""
    return first + _BEGINS.sub("'", found[1]) + found[2]


def _escaped(found: re.Match[str]) -> str:
    begins = _is_behind_semicolon(found) or _BEGINS.search(found[1])
    return f"{found[1]}\\u{ord(found[2]):04x}" if begins else found[0]


def _is_behind_semicolon(found: re.Match[str]) -> bool:
    return found.string.endswith(";", 0, found.start())


def write_parquet(flows: Iterable[Flow], file: IO[bytes]) -> None:
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
    schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _batches(_row(flow) for flow in flows):
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


def _json(value: Any) -> str:
    return canonical_json(value).decode("utf-8", "replace")

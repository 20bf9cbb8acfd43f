"""Documents on local disk until they are archived. Memory does not grow with their size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from vi_airflow_provider.storage.tempfiles import file as temporary_file


class DocumentSpool(Mapping[str, bytes]):
    """A mapping of ids to documents. It disappears with the process, however that ends."""

    def __init__(self) -> None:
        self._file = temporary_file()
        self._places: dict[str, tuple[int, int]] = {}

    def add(self, document_id: str, document: bytes) -> None:
        """Store a document."""
        start = self._file.seek(0, 2)
        self._file.write(document)
        self._places[document_id] = start, len(document)

    def __getitem__(self, document_id: str) -> bytes:
        start, size = self._places[document_id]
        self._file.seek(start)
        return self._file.read(size)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

"""Where a task instance archives what it deletes, and where its earlier tries did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from vi_airflow_provider.cleanup.archive import Form, archives_of, prefix_of, unique_name, write_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _announce_nothing(uri: str) -> None:
    """Do nothing: the log of a task has the URL."""


class Attempt(NamedTuple):
    """A try of a task instance."""

    #: The same for all tries of the task instance, and for no other.
    instance: str
    is_retry: bool
    #: Parts of the names of its archives, for the people who read them.
    labels: tuple[str, ...]
    #: Called with the URL of each archive that is written and verified, before anything is deleted.
    announce: Callable[[str], None] = _announce_nothing


@dataclass(frozen=True)
class Destination:
    """A folder, and the prefix of the archives that a task instance writes there.

    :param folder: URL or absolute path
    :param prefix: what the names of the archives begin with, in each of the task's tries
    :param is_retry: whether an earlier try may have written archives
    :param announce: called with the URL of each archive
    """

    folder: str
    prefix: str
    is_retry: bool
    announce: Callable[[str], None] = field(default=_announce_nothing, compare=False, repr=False)

    @classmethod
    def of(cls, folder: str, attempt: Attempt) -> Self:
        """Return where an attempt archives, given the folder."""
        return cls(folder, prefix_of(attempt.instance, *attempt.labels), attempt.is_retry, attempt.announce)

    def earlier_archives(self) -> list[str]:
        """Return what earlier tries archived, oldest first: one of them may have been killed during its deletes."""
        return archives_of(self.folder, self.prefix) if self.is_retry else []

    def write(
        self,
        documents: Mapping[str, bytes],
        organization_id: str,
        details: Mapping[str, Any],
        form: Form | None = None,
    ) -> str:
        """Write documents to a new archive, verify it, and return its URL.

        :param documents: canonical JSON by ids
        :param form: what they are, flows by default
        :raises ArchiveError: the archive could not be written, or does not read back as it was written
        """
        uri = write_archive(self.folder, unique_name(self.prefix), documents, organization_id, details, form).uri
        self.announce(uri)
        return uri

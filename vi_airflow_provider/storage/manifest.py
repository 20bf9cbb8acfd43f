"""Manifests: what proves that a data file is complete. One mechanism for archives and exports.

A manifest is a JSON object beside its data file. It begins with facts (kind, version, count, sha256, …) and may end
with the fingerprint of each document, one per line, so that both can be read without holding all of them in memory.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from airflow.providers.common.compat.sdk import ObjectStoragePath
from pydantic import ValidationError

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.api.validation import describe_errors
from vi_airflow_provider.storage.files import is_folder, list_files, open_to_read

if TYPE_CHECKING:
    from collections.abc import Callable

#: The version of the manifests that this provider writes and reads.
VERSION: Final = 1
_END_OF_LIST: Final = b" }\n"
#: The facts are within the first bytes: to find the newest of many manifests, only these are read.
HEAD_BYTES: Final = 1 << 16
#: How a manifest states its kind; all kinds of this provider begin alike.
_KIND: Final = re.compile(rb'^ "kind": "(vi-[a-z-]+)",?$', re.MULTILINE)


class Suffix(NamedTuple):
    """How the name of a companion follows from that of its data file: one ending replaces another."""

    of_data: str
    of_companion: str

    def companion(self, name: str) -> str:
        """Return the companion's name."""
        return name.removesuffix(self.of_data) + self.of_companion

    def data(self, name: str) -> str:
        """Return the name of the data file."""
        return name.removesuffix(self.of_companion) + self.of_data


@dataclass(frozen=True)
class Files:
    """A data file and its companions, which may or may not exist."""

    data: ObjectStoragePath
    manifest: ObjectStoragePath
    report: ObjectStoragePath


@dataclass(frozen=True)
class ManifestKind:
    """One kind of manifest: its name in the file, where it is stored, and the error that its readers raise."""

    name: str
    manifest: Suffix
    report: Suffix
    error: Callable[[str], Exception]
    #: What it lists the fingerprints of, in the singular.
    noun: str = "flow"

    @property
    def _list(self) -> str:
        """What separates the facts of a manifest from the fingerprints."""
        return f',\n "{self.noun}s": {{'

    def files(self, uri: str) -> Files:
        """Locate a data file and its companions."""
        path = ObjectStoragePath(uri)
        return Files(
            path, path.parent / self.manifest.companion(path.name), path.parent / self.report.companion(path.name)
        )

    def is_manifest(self, path: ObjectStoragePath) -> bool:
        """Return whether a file is a manifest, by its name."""
        return path.name.endswith(self.manifest.of_companion)

    def data_of(self, manifest: ObjectStoragePath) -> ObjectStoragePath:
        """Locate the data file of a manifest."""
        return manifest.parent / self.manifest.data(manifest.name)

    def write(
        self, file: IO[bytes], facts: Mapping[str, Any], fingerprints: Iterable[tuple[str, str]] | None = None
    ) -> None:
        """Write a manifest.

        :param facts: JSON data; ``kind`` and ``version`` are added
        :param fingerprints: ids and fingerprints, consumed as they are written
        """
        head = json.dumps({**facts, "kind": self.name, "version": VERSION}, sort_keys=True, indent=1)
        text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        if fingerprints is None:
            text.write(f"{head}\n")
        else:
            text.write(head.removesuffix("\n}") + self._list)
            for number, (document_id, fingerprint) in enumerate(fingerprints):
                text.write(f'{"," if number else ""}\n  {encode_basestring_ascii(document_id)}: "{fingerprint}"')
            text.write("\n }\n}\n")
        text.detach()  # flushes it and leaves the file open

    @contextmanager
    def facts(self, manifest: ObjectStoragePath) -> Iterator[dict[str, Any]]:
        """Lend the facts of a manifest to a block that checks them; what the block rejects is rejected here.

        :raises error: the manifest is missing, malformed, of another kind or version, or the block raised an error of
            its value
        """
        with self._refusing(manifest):
            with open_to_read(manifest, HEAD_BYTES) as file:
                head, found, _ = file.read(HEAD_BYTES).decode().partition(self._list)
                facts = json.loads(f"{head}}}" if found else head.encode() + file.read())
            if facts["kind"] != self.name or facts["version"] != VERSION:
                wanted = f"{self.name!r} of version {VERSION}"
                raise ValueError(f"it is a {facts['kind']!r:.80} of version {facts['version']!r:.20}, not a {wanted}")
            yield facts

    def fingerprints(self, manifest: ObjectStoragePath) -> Iterator[tuple[str, str]]:
        """Yield id and fingerprint of each document in a manifest, which is read as they are consumed.

        :raises error: the manifest is missing or malformed
        """
        with self._refusing(manifest), open_to_read(manifest) as file:
            lines = iter(file)
            if f"{self._list[2:]}\n".encode() not in lines:
                raise ValueError(f"it lists no {self.noun}s")
            for line in lines:
                if line == _END_OF_LIST:
                    return
                ((document_id, fingerprint),) = json.loads(b"{%b}" % line.strip().removesuffix(b",")).items()
                yield document_id, fingerprint
            raise ValueError("it is truncated")

    @contextmanager
    def _refusing(self, manifest: ObjectStoragePath) -> Iterator[None]:
        # The reason is raised outside of the handlers: the cause would show a file's content in a traceback.
        try:
            yield
        except FileNotFoundError:
            reason = self._missing(manifest)
        except ValidationError as error:
            reason = describe_errors(error)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            reason = one_line(f"{type(error).__name__}: {error}")
        else:
            return
        raise self.error(f"manifest {manifest}: {reason}")

    def _missing(self, manifest: ObjectStoragePath) -> str:
        given = manifest.parent / manifest.name.removesuffix(self.manifest.of_companion)
        try:
            if is_folder(given):
                found = sum(map(self.is_manifest, list_files(given)))
                files = "the file in it" if found == 1 else f"one of the {found} files in it"
                return f"{given} is a folder; name {files}" if found else f"{given} is a folder"
        except Exception:  # noqa: S110 - whatever the driver raises: that the manifest is missing is certain
            pass
        data = self.data_of(manifest)
        if other := kind_beside(data):
            return f"it does not exist: {data.name} is a {other!r:.80}, not a {self.name!r}"
        return f"it does not exist, so {data.name} may be incomplete"

    def mismatch(self, uri: str, detail: str = "") -> Exception:
        """Return the error for a data file that its manifest does not accept."""
        return self.error(f"{uri} does not match its manifest: it was truncated or changed{detail}")


def kind_of(manifest: ObjectStoragePath) -> str | None:
    """Return the kind that a manifest of this provider names, ``None`` for other files.

    It may be a kind that only a later version of this provider can read.

    :raises Exception: whatever the file system's driver raises
    """
    with open_to_read(manifest, HEAD_BYTES) as file:
        found = _KIND.search(file.read(HEAD_BYTES))
    return found and found[1].decode()


def kind_at(manifest: ObjectStoragePath) -> str | None:
    """Return the kind that a manifest names, ``None`` if it is missing or unreadable."""
    try:
        return kind_of(manifest)
    except Exception:  # whatever the file system's driver raises
        return None


def kind_beside(data: ObjectStoragePath) -> str | None:
    """Return the kind of an archive by its manifest, which has another name than that of an export."""
    return kind_at(data.parent / (data.name.removesuffix(".jsonl") + ".manifest.json"))


def sha256_of(path: ObjectStoragePath) -> str:
    """Return the hexadecimal sha256 of a stored file."""
    with open_to_read(path) as file:
        return sha256_and_size(file)[0]


def sha256_and_size(file: IO[bytes]) -> tuple[str, int]:
    """Return the hexadecimal sha256 and the size of a file, read from its beginning."""
    file.seek(0)
    digest, size = hashlib.sha256(), 0
    while block := file.read(1 << 20):
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size

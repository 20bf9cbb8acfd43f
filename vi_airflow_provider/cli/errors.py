"""What a command reports when it fails: one sentence, and an exit code by which a script decides what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from typing import Final

from vi_airflow_provider.api import errors
from vi_airflow_provider.api.errors import ViError, one_line
from vi_airflow_provider.storage.console import OutputError
from vi_airflow_provider.storage.failures import reason_of


class ExitCode(IntEnum):
    """The exit codes of all commands; the first four are those of ``python -m vi_airflow_provider.audit``."""

    OK = 0
    #: Exports differ, nothing was found, a guard or the user refuses, or some flows could not be written.
    NO = 1
    #: An argument is unusable, or an export or archive is missing, damaged or unreadable.
    UNUSABLE = 2
    OUTPUT = 3
    #: The connection is missing or unusable; nothing was sent, or TLS has failed.
    CONNECTION = 4
    #: 401, 403.
    DENIED = 5
    NOT_FOUND = 6
    #: 409, in use; or changed since it was read.
    CONFLICT = 7
    #: 429, 5xx, time-outs and the network: the same command may succeed later.
    TEMPORARY = 8
    #: A response that violates the contract, and whatever was not foreseen.
    UNEXPECTED = 9
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot be carried out; the message is for a person."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


#: From special to general: the first class that fits counts.
_CODES: Final[Mapping[type[Exception], ExitCode]] = {
    OutputError: ExitCode.OUTPUT,
    errors.ViConfigurationError: ExitCode.CONNECTION,
    errors.ViCertificateError: ExitCode.CONNECTION,
    errors.ViValidationError: ExitCode.UNUSABLE,
    errors.ViAuthenticationError: ExitCode.DENIED,
    errors.ViPermissionError: ExitCode.DENIED,
    errors.ViNotFoundError: ExitCode.NOT_FOUND,
    errors.ViConflictError: ExitCode.CONFLICT,
    errors.ViRateLimitError: ExitCode.TEMPORARY,
    errors.ViServerError: ExitCode.TEMPORARY,
    errors.ViTimeoutError: ExitCode.TEMPORARY,
    errors.ViNetworkError: ExitCode.TEMPORARY,
}


#: The option that a repeatable argument is built from.
_ARGUMENTS: Final = {
    "attributes": "attribute",
    "protect_ids": "protect_id",
    "protect_names": "protect_name",
    "protect_attributes": "protect_attribute",
    "flow_ids": "flow_id",
    "states": "state",
    "vi_conn_id": "conn_id",
}
#: The name of an argument in a message, not within a name, a path or a quoted value.
_NAME: Final = re.compile(r"(?<![\w'\"/.-])([a-z]+(?:_[a-z]+)+)(?:=True)?(?![\w'\"/=-]|\.\w)")


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code for an error that ended a command."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, CommandError):
        return error.code
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), ExitCode.UNEXPECTED)


def sentence(error: BaseException, shown: Mapping[str, str]) -> str:
    """Return what to tell a person about an error.

    :param shown: what the person calls the arguments that a message may name
    """
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted."
    if isinstance(error, CommandError):
        return _as_shown(str(error), shown)
    if not isinstance(error, ViError | OutputError):
        return one_line(f"{type(error).__name__}: {error}", 2_000)
    name, colon, rest = str(error).partition(":")
    name = _ARGUMENTS.get(name, name)
    text = f"{shown[name]}:{rest}" if colon and name in shown else str(error)
    if isinstance(error, errors.ViConfigurationError):  # its fields are those of a connection
        text = _as_shown(text, {name: shown[name] for name in ("conn_id",) if name in shown})
    elif isinstance(error, errors.ViValidationError) and error.status_code is None:
        text = _as_shown(text, shown)
    return one_line(text, 2_000)


def _as_shown(text: str, shown: Mapping[str, str]) -> str:
    """Return a message about arguments of an operator with the names that the person knows."""
    return _NAME.sub(lambda found: shown.get(_ARGUMENTS.get(found[1], found[1]), found[0]), text)


@contextmanager
def reporting(
    codes: Mapping[type[Exception], ExitCode], failed: str = "", *, names_file: bool = False
) -> Iterator[None]:
    """Give the errors that a room of the package raises in a block their exit codes.

    :param codes: from special to general; ``Exception`` stands for whatever the driver of a storage raises
    :param failed: what has failed then
    :param names_file: add the name of the file, because ``failed`` names several
    """
    try:
        yield
    except tuple(codes) as error:
        kind, code = next((kind, code) for kind, code in codes.items() if isinstance(error, kind))
        if kind is Exception and isinstance(error, CommandError | ViError | OutputError):
            raise
        text = one_line(f"{failed}: {reason_of(error, with_name=names_file)}") if kind is Exception else str(error)
        raise CommandError(text, code) from error

"""The one table of what responses mean. Each case is played three ways, and all must decide the same.

A case specifies what a script of outcomes means: the value or the error, how many requests were sent, and how long
the waits between them were. See ``tests.transports`` for how a case is played.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from tests.transports import (
    WAYS,
    Case,
    Verdict,
)
from tests.unit.api.response_cases import framings, listings, questions, redirects, sizes_and_codings, wrong_shapes
from tests.unit.api.retry_cases import broken_connections, patience, retry_after, silence, statuses
from tests.unit.api.write_cases import deletes, guarded_deletes, guarded_writes

CASES: Final = [
    *statuses(),
    *retry_after(),
    *patience(),
    *broken_connections(),
    *silence(),
    *deletes(),
    *guarded_deletes(),
    *guarded_writes(),
    *redirects(),
    *wrong_shapes(),
    *sizes_and_codings(),
    *framings(),
    *listings(),
    *questions(),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.behaviour)
def test_protocol_and_clients_decide_the_same(
    case: Case, way: Callable[[Case, pytest.MonkeyPatch], Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert way(case, monkeypatch) == case.expected


def test_no_two_cases_have_the_same_name() -> None:
    names = sorted(case.behaviour for case in CASES)
    assert names == sorted(set(names))

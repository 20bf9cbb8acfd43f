"""Bodies are decoded alike however they arrive: in any chunks, in several members, up to the limit."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vi_airflow_provider.api.transport import content_coding
from vi_airflow_provider.api.transport.content_coding import Body, TooLargeError


def _raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


CODINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "": bytes,
    "identity": bytes,
    "unknown": bytes,
    "gzip": gzip.compress,
    " X-GZIP ": gzip.compress,
    "identity, gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": _raw_deflate,
}
PIECE: Final = content_coding._PIECE
DATA: Final = st.binary(max_size=200) | st.builds(
    bytes.__mul__, st.binary(min_size=1, max_size=4), st.integers(0, 3000)
)


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content_coding, "_PIECE", 100)
        yield


def decoded(coding: str, *chunks: bytes, max_bytes: int = 1 << 20) -> bytes:
    body = Body(coding, max_bytes)
    for chunk in chunks:
        body.add(chunk)
    return body.decoded()


@pytest.mark.parametrize("coding", CODINGS)
@given(data=DATA, size=st.integers(1, 300))
def test_a_body_is_decoded_in_any_chunks(coding: str, data: bytes, size: int) -> None:
    coded = CODINGS[coding](data)
    assert decoded(coding, *(coded[at : at + size] for at in range(0, len(coded), size))) == data


@pytest.mark.parametrize("coding", CODINGS)
@given(data=DATA, room=st.integers(-5, 5))
def test_the_limit_is_that_of_the_decoded_body(coding: str, data: bytes, room: int) -> None:
    limit = max(0, len(data) + room)
    if len(data) <= limit:
        assert decoded(coding, CODINGS[coding](data), max_bytes=limit) == data
    else:
        with pytest.raises(TooLargeError, match=f"more than {limit:,} bytes"):
            decoded(coding, CODINGS[coding](data), max_bytes=limit)


@given(st.lists(DATA, min_size=1, max_size=4), st.integers(1, 50))
def test_members_of_a_gzip_body_are_joined(parts: list[bytes], size: int) -> None:
    coded = b"".join(map(gzip.compress, parts))
    assert decoded("gzip", *(coded[at : at + size] for at in range(0, len(coded), size))) == b"".join(parts)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"x" + data])
def test_a_damaged_body_is_an_error(coding: str, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(zlib.error):
        decoded(coding, damage(CODINGS[coding](b"text" * 100)))


def test_claimed_length_takes_no_memory_before_the_body_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_coding, "_PIECE", PIECE)
    tracemalloc.start()
    try:
        bodies = [Body("", 64 << 20, str(64 << 20)) for _ in range(5)]
        for body in bodies:
            body.add(b"x")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(bodies) == 5
    assert peak < 6 << 20


@given(data=DATA, size=st.integers(1, 300), claimed=st.integers(0, 12_500))
def test_body_is_whole_whatever_length_is_claimed(data: bytes, size: int, claimed: int) -> None:
    body = Body("", 1 << 20, str(claimed))
    for at in range(0, len(data), size):
        body.add(data[at : at + size])
    assert body.decoded() == data

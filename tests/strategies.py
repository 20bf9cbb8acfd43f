"""Documents for property tests: anything that the API may send."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.documents import ABSENT, wire_flow

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
#: Fields that this version does not know; the prefix prevents collisions with known ones.
UNKNOWN = st.dictionaries(
    TEXT.map("x{}".format) | st.sampled_from(["copy", "model_dump", "digest", "X"]), JSON, max_size=3
)


@st.composite
def wire_flows(draw: st.DrawFn) -> dict[str, Any]:
    """Any flow that the API may send: arbitrary JSON where it is free, unknown fields at every level."""
    spec = {
        "name": draw(TEXT),
        "schema": draw(TEXT),
        "tolerations": draw(st.dictionaries(TEXT, st.lists(TEXT, max_size=2), max_size=2)),
        "settings": draw(OBJECT),
        "blocks": draw(
            st.lists(
                st.builds(
                    lambda extra, name, settings, style: {**extra, "block": name, "settings": settings, "style": style},
                    *(UNKNOWN, TEXT, OBJECT, OBJECT),
                ),
                max_size=3,
            )
        ),
        **draw(UNKNOWN),
        **draw(st.sampled_from([{}, {"trainingProject": None}, {"trainingProject": "p"}])),
    }
    metadata = {
        "timeCreated": draw(st.integers(-(2**60), 2**60)),
        "lastUpdated": draw(st.integers(0, 2**60)),
        "generation": draw(st.integers(0, 2**31)),
        "attributes": draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        **draw(UNKNOWN),
    }
    kind = draw(st.sampled_from([{}, {"kind": "Flow"}]))
    return wire_flow(kind=ABSENT) | kind | {"spec": spec, "metadata": metadata} | draw(UNKNOWN)

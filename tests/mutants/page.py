"""Read the reasons, store the scores, and render ``docs/mutants.md``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from tests.layers import ROOT
from tests.mutants.score import MINIMUM, Score, Survivor

PAGE: Final = ROOT / "docs" / "mutants.md"
SCORES: Final = ROOT / "docs" / "measured" / "mutants.json"
REASONS: Final = Path(__file__).with_name("survivors.json")


def load_reasons() -> dict[Survivor, str]:
    """Return the survivors that make no difference, each with the reason."""
    return {
        Survivor(each["function"], each["before"], each["after"]): each["reason"]
        for each in json.loads(REASONS.read_text(encoding="utf-8"))
    }


def load_scores() -> dict[str, Any]:
    """Return the stored score of each room."""
    return json.loads(SCORES.read_text(encoding="utf-8")) if SCORES.exists() else {}


def store(room: str, found: Score) -> None:
    """Store the score of a room and render the page."""
    scores = load_scores() | {
        room: {
            "total": found.total,
            "killed": found.killed,
            "wording": found.wording,
            "rate": round(found.rate, 4),
            "equivalent": [asdict(each) | {"reason": reason} for each, reason in found.equivalent.items()],
            "open": [asdict(each) for each in found.open],
        }
    }
    SCORES.write_text(json.dumps(dict(sorted(scores.items())), indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(render(scores), encoding="utf-8")


def render(scores: Mapping[str, Any]) -> str:
    """Render the page."""
    rows = [
        f"| `{room}` | {s['total']} | {s['killed']} | {s['wording']} | {len(s['equivalent'])} | {len(s['open'])} "
        f"| {s['rate']:.1%} |"
        for room, s in sorted(scores.items())
    ]
    parts = [_HEAD, "\n".join([_COLUMNS, "|---|" + "---:|" * 6, *rows])]
    for title, key in (("Survivors that make no difference", "equivalent"), ("Other survivors", "open")):
        found = [each for _, s in sorted(scores.items()) for each in s[key]]
        parts += [f"## {title}", "\n".join(map(_survivor, found)) or "None."]
    return "\n\n".join(parts) + "\n"


def _survivor(each: Mapping[str, str]) -> str:
    reason = f": {each['reason']}" if "reason" in each else ""
    return f"- `{each['function']}`{reason}\n  ```diff\n  - {each['before']}\n  + {each['after']}\n  ```"


_COLUMNS: Final = "| room | mutants | killed | survivors: wording | no difference | other | score |"
_HEAD: Final = f"""\
<!-- Written by `make mutants` from docs/measured/mutants.json. Do not edit. -->

# Mutation tests

`make mutants` changes the decision logic of the package one expression at a time, and runs the tests that cover the
changed function. A mutant is *killed* if a test fails. Survivors are

- *wording*: only the text of a message differs;
- *no difference*: the behaviour is the same, for the reason given below;
- *other*: a test is missing.

The score is the number of killed mutants, divided by that of killed and other ones. At least {MINIMUM:.0%} of each room
must be killed."""

"""Everything that an error can show."""

from __future__ import annotations

import traceback

from rich.traceback import Traceback


def everything_shown(error: BaseException) -> dict[str, str]:
    """Return every representation of an error, including the locals of each frame as Python and rich print them."""
    with_locals = traceback.TracebackException.from_exception(error, capture_locals=True)
    by_rich = Traceback.extract(type(error), error, error.__traceback__, show_locals=True)
    frames = [frame for stack in by_rich.stacks for frame in stack.frames]
    assert any(frame.locals for frame in frames)
    return {
        "str": str(error),
        "repr": repr(error),
        "attributes": repr(vars(error)),
        "traceback": "".join(traceback.format_exception(error)),
        "traceback with locals": "".join(with_locals.format()),
        "rich's locals": "\n".join(str(node) for frame in frames for node in (frame.locals or {}).values()),
    }

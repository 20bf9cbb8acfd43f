"""What people can do with a running emulator, printed by the command line and the demo."""

from __future__ import annotations


def next_steps(url: str, organization_id: str) -> list[str]:
    """What to do with a running emulator, with a command for each; none of them contains the key."""
    control = f"{url}/_emulator/"
    return [
        "Next steps:",
        f"  see the flows              {url}/org/{organization_id}",
        f'  create a flow by name      curl -X POST {control}flows -d \'{{"name": "Weld seam defects - nightly"}}\'',
        f'  let a colleague change 3   curl -X POST {control}changes -d \'{{"edit": 2, "delete": 1}}\'',
        f'  overload it for a while    curl -X POST {control}faults -d \'{{"status": 503, "times": 3}}\'',
        f"  see the requests           curl {control}requests",
    ]

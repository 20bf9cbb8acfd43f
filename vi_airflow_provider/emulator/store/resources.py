"""Accelerators and quota, which the emulator derives. Their figures are invented."""

from __future__ import annotations

from collections.abc import Iterable

from vi_airflow_provider.emulator.store.schema import Document, etag

#: The GPU tiers that the vendor names, with their memory in GiB.
_TIERS = {"t4": 16, "l4": 24, "a10g": 24, "a100": 80, "h100": 80}
_CREDITS = 1000.0


def accelerators(organization_id: str, flow_id: str, spec: Document) -> Document:
    """Which accelerators can train a flow."""
    needed = _memory_needed(spec)
    return {
        "kind": "FlowAcceleratorList",
        "workspaceId": organization_id,
        "flowId": flow_id,
        "flowRequirements": {"minimumTotalResources": {"memoryGiB": needed}},
        "items": [_item(organization_id, name, memory, needed) for name, memory in _TIERS.items()],
    }


def quota(flows: int, runs: int, seconds: Iterable[float]) -> Document:
    """Limits and usage of the organization; an hour of training costs one credit."""
    used = round(sum(seconds) / 3600, 6)
    return {
        "datasets": {"limit": 100, "used": 10},
        "assets": {"limit": 1_000_000, "used": 12_000},
        "storage": {"limitBytes": 10**12, "usedBytes": 5 * 10**10 + runs * 10**9},
        "flows": {"limit": 100_000, "used": flows},
        "trainingCredits": {"granted": _CREDITS, "used": used, "balance": _CREDITS - used},
    }


def _memory_needed(spec: Document) -> int:
    for block in spec["blocks"]:
        architecture = block["settings"].get("architecture")
        size = str(architecture.get("size", "")) if isinstance(architecture, dict) else ""
        if size.endswith("B") and size[:-1].isdecimal():
            return int(size[:-1]) * 4
    return 16


def _item(organization_id: str, name: str, memory: int, needed: int) -> Document:
    metadata = {"timeCreated": 0, "lastUpdated": 0, "generation": 1, "attributes": {}}
    return {
        "accelerator": {
            "kind": "TrainingAccelerator",
            "workspaceId": organization_id,
            "trainingAcceleratorId": name,
            "selfLink": f"/workspaces/{organization_id}/trainingAccelerators/{name}",
            "etag": etag(name),
            "metadata": metadata,
            "spec": {"enabled": True, "labels": {"tier": name.upper()}, "resources": {"memoryGiB": memory}},
        },
        "configurations": [_configuration(count, memory, needed) for count in (1, 2, 4)],
    }


def _configuration(count: int, memory: int, needed: int) -> Document:
    if count * memory < needed:
        return {"count": count, "action": "Deny", "reason": f"needs {needed} GiB, has {count * memory} GiB"}
    if count * memory < needed * 1.25:
        return {"count": count, "action": "Warn", "reason": "little memory is left"}
    return {"count": count, "action": "Allow"}

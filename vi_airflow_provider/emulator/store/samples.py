"""Sample flows and runs: plausible, varied, and the same for the same seed.

Every flow is drawn from its own generator, so asking for more flows does not change their names or
settings. Block names and setting keys are invented (assumed): the vendor documents none.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from vi_airflow_provider.emulator.store.schema import Document, etag

DAY_MS = 86_400_000
OLDEST_DAYS = 400
# Cubing an even spread puts about three flows in five within the last 90 days: a live workspace with a long tail.
AGE_SKEW = 3
# The run attribute in which the provider records the flow of a run; the wire has no such field.
FLOW_ID_ATTRIBUTE = "vi_airflow.flow_id"


class Project(NamedTuple):
    """An invented training project, and what its flows train."""

    id: str
    task: str
    dataset: str
    kind: str
    team: str
    prompt: str


class _Model(NamedTuple):
    label: str
    architecture: str
    size: str


PROJECTS = (
    Project("weld-inspection", "Weld seam defects", "weld-seams", "phrase-grounding", "line-3",
             "Find weld defects and name each one."),
    Project("pcb-assembly", "PCB solder joints", "pcb-top-side", "phrase-grounding", "electronics",
             "Box every solder joint that is cold, bridged or missing."),
    Project("ampoule-line", "Ampoule fill level", "ampoules", "vqa", "pharma-fill",
             "Is the fill level between the two marks? Answer yes or no."),
    Project("turbine-blades", "Turbine blade borescope", "borescope-frames", "freeform", "aero-mro",
             "Describe cracks, burns and missing coating for the inspector's report."),
    Project("warehouse-safety", "Forklift near misses", "dock-cameras", "freeform", "site-safety",
             "Describe what people and vehicles do, and any danger to a person."),
    Project("crop-scouting", "Vine leaf disease", "vineyard-drone", "phrase-grounding", "agronomy",
             "Mark leaves that show mildew, rust or scorch."),
    Project("rail-track", "Rail fastener check", "track-gauge-car", "phrase-grounding", "infrastructure",
             "Find fasteners that are loose, broken or absent."),
    Project("bakery-belt", "Crème brûlée surface", "bakery-belt-2", "vqa", "food-quality",
             "How many of the desserts have a cracked or burnt surface?"),
    Project("blechpresse-3", "Blechteile Prüfung Halle 3", "pressteile", "phrase-grounding", "line-5",
             "Markiere Risse, Dellen und Schmierstellen auf dem Blechteil."),
    Project("meter-reading", "Analog gauge reading", "boiler-gauges", "vqa", "utilities",
             "What value does the gauge show, and in which unit?"),
)  # fmt: skip

_MODELS = (
    _Model("Qwen3-VL 4B", "qwen3vl", "4B"),
    _Model("Qwen3-VL 8B", "qwen3vl", "8B"),
    _Model("Qwen2.5-VL 7B", "qwen25vl", "7B"),
    _Model("InternVL3.5 8B", "internvl35", "8B"),
    _Model("Gemma 4 12B", "gemma4", "12B"),
    _Model("NVILA 8B", "nvila", "8B"),
    _Model("Cosmos-Reason2 8B", "cosmosreason2", "8B"),
    _Model("LLaVA-NeXT 7B", "llavanext", "7B"),
)

_OWNERS = ("amara", "björn", "chidi", "daniela", "emre", "farah", "giulia", "haruto")
_STAGES = ("experiment", "experiment", "candidate", "production")
_VARIANTS = ("", "", "", " (more epochs)", " (frozen vision tower)", " v2", " v3", " - ablation")


def sample_flows(count: int, seed: int | str, organization_id: str, now_ms: int) -> list[Document]:
    """Flow documents, newest creation first, last updated between now and 400 days ago."""
    flows = [_flow(index, count, seed, organization_id, now_ms) for index in range(count)]
    return sorted(flows, key=lambda flow: (-flow["metadata"]["timeCreated"], flow["flowId"]))


def sample_runs(flows: Sequence[Document], now_ms: int, run_ms: int) -> list[Document]:
    """One young run for each of the (at most two) most recently updated flows: these flows are busy.

    A tenth of the flows at most, so that a test with a handful of flows can delete them all.
    """
    newest = sorted(flows, key=lambda flow: -flow["metadata"]["lastUpdated"])
    return [_run(flow, now_ms - run_ms // 5) for flow in newest[: min(2, len(flows) // 10)]]


def _flow(index: int, count: int, seed: int | str, organization_id: str, now_ms: int) -> Document:
    rng = random.Random(f"{seed}/{index}")  # noqa: S311  # not a secret: it must be the same each time
    flow_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    project, model = rng.choice(PROJECTS), rng.choice(_MODELS)
    age = OLDEST_DAYS * ((index + rng.random()) / count) ** AGE_SKEW
    updated = now_ms - int(age * DAY_MS)
    edits = rng.choice((0, 0, 1, 2, 3, 5, 8))
    created = updated - sum(rng.randrange(60_000, 9 * DAY_MS) for _ in range(edits))
    spec = {
        "name": f"{project.task} - {model.label}{rng.choice(_VARIANTS)}",
        "schema": "v1",
        "tolerations": {"spot": ["preemption"]} if rng.random() < 0.15 else {},
        "settings": {"seed": rng.randrange(100)},
        "blocks": _blocks(rng, project, model),
        "trainingProject": project.id,
    }
    metadata = {
        "timeCreated": created,
        "lastUpdated": updated,
        "generation": 1 + edits,
        "attributes": _attributes(rng, index, project),
    }
    return {
        "kind": "Flow",
        "workspaceId": organization_id,
        "flowId": flow_id,
        "spec": spec,
        "metadata": metadata,
        "selfLink": f"/workspaces/{organization_id}/flows/{flow_id}",
        "etag": etag(spec, metadata),
    }


def _blocks(rng: random.Random, project: Project, model: _Model) -> list[Document]:
    quantized = rng.random() < 0.6
    dataset = {
        "projectKind": project.kind,
        "datasetId": f"{project.dataset}-{rng.choice(('2025q3', '2025q4', '2026q1', '2026q2'))}",
        "splitRatio": rng.choice((0.1, 0.2, 0.25)),
        "shuffle": rng.random() < 0.8,
    }
    training = {
        "architecture": {"name": model.architecture, "size": model.size},
        "trainingMode": "lora" if quantized else rng.choice(("lora", "sft")),
        "quantization": {"enabled": True, "type": rng.choice(("nf4", "fp4"))} if quantized else {"enabled": False},
        "compute": {"precisionType": rng.choice(("bfloat16", "bfloat16", "float16"))},
        "hyperparameters": {
            "epochs": rng.choice((10, 20, 40, 60, 100)),
            "batchSize": rng.choice((2, 4, 8)),
            "learningRate": rng.choice((1e-05, 5e-05, 0.0001, 0.0002)),
        },
        "evaluation": {"temperature": rng.choice((0.0, 0.2, 0.7, 1.0)), "max_new_tokens": rng.choice((256, 512, 1024))},
    }
    blocks = {"system-prompt": {"systemPrompt": project.prompt}, "dataset": dataset, "vlm-model": training}
    return [
        {"block": name, "settings": settings, "style": {"x": 320, "y": 40 + 180 * row}}
        for row, (name, settings) in enumerate(blocks.items())
    ]


def _attributes(rng: random.Random, index: int, project: Project) -> dict[str, str]:
    attributes = {"team": project.team, "stage": rng.choice(_STAGES), "owner": rng.choice(_OWNERS)}
    if rng.random() < 0.3:
        attributes["ticket"] = f"VI-{rng.randrange(100, 2000)}"
    if index % 13 == 12:  # by rank of age, so that old flows are among those to keep
        attributes["keep"] = "true"
    return attributes


def _run(flow: Document, created: int) -> Document:
    return {
        "runId": str(uuid.uuid5(uuid.UUID(flow["flowId"]), "run")),
        "spec": {"flow": flow["spec"], "killedAt": None, "trainingProject": flow["spec"]["trainingProject"]},
        "metadata": {
            "timeCreated": created,
            "lastUpdated": created,
            "generation": 1,
            "attributes": {FLOW_ID_ATTRIBUTE: flow["flowId"]},
        },
    }

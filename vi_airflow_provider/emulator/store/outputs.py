"""Outputs of runs: checkpoints with metrics, and pre-signed downloads of them.

A checkpoint exists from the moment at which its share of the training is done. Metrics follow the curves that
trainings show: the loss falls and flattens, the score rises, with a little noise. The same run gives the same figures.
"""

from __future__ import annotations

import hashlib
import math
import random
import secrets
from collections.abc import Callable
from typing import Final

from vi_airflow_provider.emulator.store.collection import Ledger
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.lifecycle import Life
from vi_airflow_provider.emulator.store.listing import Page, Place
from vi_airflow_provider.emulator.store.runs import Runs
from vi_airflow_provider.emulator.store.schema import Document, check_id, etag
from vi_airflow_provider.emulator.store.weights import Weights

DOWNLOADS_PREFIX: Final = "/downloads/"
DEFAULT_EPOCHS: Final = 40


class Outputs:
    """The outputs of all runs of a store."""

    def __init__(self, ledger: Ledger, runs: Runs) -> None:
        self._ledger = ledger
        self._runs = runs
        self._secret = secrets.token_bytes(16)

    def of(self, run_id: str) -> list[Document]:
        """The checkpoints so far, the latest one last."""
        run = self._runs.read(run_id).document
        life = self._runs.life(run)
        if life.plan.scenario == "no_model" or not life.plan.checkpoints:
            return []
        done, count = life.progress(self._ledger.clock()), life.plan.checkpoints
        return [self._output(run, life, number) for number in range(1, count + 1) if number / count <= done]

    def page(self, run_id: str, after: Place | None, size: int) -> Page[Document]:
        """Consecutive checkpoints; the cursor counts them, because checkpoints are only ever appended."""
        outputs = self.of(run_id)
        start = after if isinstance(after, int) else 0
        stop = start + size
        return Page(outputs[start:stop], stop if stop < len(outputs) else None)

    def get(self, run_id: str, output_id: str) -> Document:
        """One checkpoint, or a 404."""
        check_id(output_id, "Run output")
        for output in self.of(run_id):
            if output["runOutputId"] == output_id:
                return output
        raise ApiError(404, f"Run output {output_id} not found")

    def with_contents(self, output: Document, base_url: str) -> Document:
        """A checkpoint with a pre-signed download."""
        expires = self._ledger.clock() + int(self._ledger.behaviour.download_seconds * 1000)
        path = f"{DOWNLOADS_PREFIX}{output['runId']}/{output['runOutputId']}"
        url = f"{base_url.rstrip('/')}{path}?expires={expires}&signature={self._signature(path, expires)}"
        contents = {"downloadUrl": {"url": url, "expiresAt": expires}}
        return {**output, "status": {**output["status"], "contents": contents}}

    def download(self, path: str, expires: str, signature: str) -> Weights:
        """The content behind a pre-signed URL; 403 if it is forged or has expired."""
        if not (expires.isascii() and expires.isdecimal() and len(expires) < 20):
            raise ApiError(403, "The URL is not signed")
        if not secrets.compare_digest(signature.encode(), self._signature(path, int(expires)).encode()):
            raise ApiError(403, "The signature does not match")
        if int(expires) <= self._ledger.clock():
            raise ApiError(403, "The URL has expired")
        return Weights(path.removeprefix(DOWNLOADS_PREFIX), self._ledger.behaviour.download_bytes)

    def _signature(self, path: str, expires: int) -> str:
        return hashlib.blake2b(f"{path}?{expires}".encode(), key=self._secret, digest_size=24).hexdigest()

    def _output(self, run: Document, life: Life, number: int) -> Document:
        epoch = max(1, epochs_of(run) * number // life.plan.checkpoints)
        output_id, run_id = f"epoch-{epoch:03}-{number}", run["runId"]
        at = life.moment_of(number / life.plan.checkpoints)
        metadata = {"timeCreated": at, "lastUpdated": at, "generation": 1, "attributes": {}}
        measured = metrics(run_id, number, life.plan.checkpoints)
        if life.plan.scenario == "nan_metrics" and number % 2:
            measured |= {"validationLoss": math.nan, "gradientNorm": math.inf}
        spec = {"kind": "Checkpoint", "epoch": epoch, "evaluationMetrics": measured}
        return {
            "kind": "RunOutput",
            "workspaceId": self._ledger.organization_id,
            "runId": run_id,
            "runOutputId": output_id,
            "spec": spec,
            "status": {"observedGeneration": 1, "conditions": [], "storageObject": f"runs/{run_id}/{output_id}"},
            "metadata": metadata,
            "selfLink": f"/workspaces/{self._ledger.organization_id}/runs/{run_id}/outputs/{output_id}",
            "etag": etag(run_id, output_id),
        }


def metrics(run_id: str, number: int, count: int) -> dict[str, float]:
    """The figures of a checkpoint: with more training, the loss falls and the scores rise, both ever more slowly."""
    noise: Callable[[float], float] = _noise(run_id, number)
    shape = random.Random(run_id)  # noqa: S311  # not a secret: it must be the same each time
    floor, speed = shape.uniform(0.25, 0.5), shape.uniform(2.5, 4.5)
    rest = math.exp(-speed * number / count)
    return {
        "trainingLoss": round(floor * 0.7 + 1.9 * rest + noise(0.015), 4),
        "validationLoss": round(floor + 1.7 * rest + noise(0.02), 4),
        "f1": round(min(0.99, 0.95 - floor * 0.3 - 0.7 * rest + noise(0.01)), 4),
        "bleu": round(min(0.99, 0.8 - floor * 0.4 - 0.5 * rest + noise(0.012)), 4),
    }


def epochs_of(run: Document) -> int:
    """The number of epochs that the flow of a run specifies."""
    for block in run["spec"]["flow"]["blocks"]:
        hyperparameters = block["settings"].get("hyperparameters")
        epochs = hyperparameters.get("epochs") if isinstance(hyperparameters, dict) else None
        if isinstance(epochs, int) and 0 < epochs < 100_000:
            return epochs
    return DEFAULT_EPOCHS


def _noise(run_id: str, number: int) -> Callable[[float], float]:
    rng = random.Random(f"{run_id}/{number}")  # noqa: S311  # as above
    return lambda scale: rng.gauss(0.0, scale)

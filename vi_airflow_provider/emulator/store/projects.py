"""Training projects, whose status lists the flows, runs and outputs that name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vi_airflow_provider.emulator.store.collection import Collection, Ledger, copy_of, same_content
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.listing import Page, Place
from vi_airflow_provider.emulator.store.schema import (
    Document,
    check_id,
    encode,
    etag,
    merge_attributes,
    project_to_patch,
    project_to_put,
)

#: What a project contains: flow ids and run ids.
Members = Callable[[str], tuple[list[str], list[str]]]


class TrainingProjects(Collection):
    """The training projects of an organization."""

    def __init__(self, ledger: Ledger, members: Members) -> None:
        super().__init__(ledger, "TrainingProject")
        self._members = members

    def view(self, project: Document) -> Document:
        """The document as the wire shows it now."""
        id_, organization_id = project["trainingProjectId"], self._ledger.organization_id
        flows, runs = self._members(id_)
        return {
            "kind": "TrainingProject",
            "workspaceId": organization_id,
            "trainingProjectId": id_,
            "spec": project["spec"],
            "status": {"runs": runs, "flows": flows, "runOutputs": [], "tasks": []},
            "metadata": project["metadata"],
            "selfLink": f"/workspaces/{organization_id}/trainingProjects/{id_}",
            "etag": etag(project["spec"], project["metadata"]),
        }

    def wire(self, project_id: str) -> bytes:
        """The JSON of a project as reads show it."""
        return encode(self.view(self.read(project_id).document))

    def view_page(self, after: Place | None, size: int) -> Page[Document]:
        """Consecutive projects as listings show them."""
        page = self.page(after, size)
        return Page([self.view(stored.document) for stored in page.items], page.next)

    def write(self, project_id: str, body: Document) -> Document:
        """Create or replace; the type cannot change."""
        check_id(project_id, "TrainingProject")
        spec, attributes = project_to_put(body)
        with self._ledger.change():
            old = self.get(project_id)
            if old is not None and old["spec"]["type"] != spec["type"]:
                raise ApiError(400, "spec.type of a training project cannot change")
            return self._save(project_id, spec, attributes)

    def patch(self, project_id: str, body: Document) -> Document:
        """Change the given parts of the spec and merge attributes."""
        check_id(project_id, "TrainingProject")
        spec, attributes = project_to_patch(body)
        with self._ledger.change():
            old = self.require(project_id).document
            merged = merge_attributes(old["metadata"]["attributes"], attributes)
            return self._save(project_id, {**old["spec"], **spec}, merged)

    def delete(self, project_id: str) -> None:
        """Delete a project; its flows and runs stay (assumed)."""
        with self._ledger.change():
            self.require(project_id)
            self.remove(project_id)

    def conflicts(self, project_id: str, name: str) -> list[Document]:
        """What a creation would collide with, as a dry run reports it."""
        found = []
        if project_id in self:
            found.append({"kind": "IdConflict"})
        if any(project["spec"]["name"] == name for project in self):
            found.append({"kind": "NameConflict"})
        return found

    def _save(self, project_id: str, spec: Document, attributes: Mapping[str, str]) -> Document:
        old = self.get(project_id)
        if old is None or not same_content(old, spec, attributes):
            metadata = self._ledger.metadata(old, spec, attributes)
            old = self.put({"trainingProjectId": project_id, "spec": spec, "metadata": metadata}).document
        return copy_of(encode(self.view(old)))

"""The documents of the Vi API, as frozen pydantic models; see ``document`` for what they have in common.

Those of runs and training projects are imported when they are first used: to define them takes longer than those of
flows, and would delay the first request of a task that needs only flows.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vi_airflow_provider.api.models.document import TWIN, Document, ResourceMetadata, format_time
from vi_airflow_provider.api.models.flows import (
    DeletedFlow,
    Flow,
    FlowBlock,
    FlowPage,
    FlowSpec,
    FlowSpecPatch,
    GuardedWrite,
    SimpleFlow,
    last_update,
)

if TYPE_CHECKING:
    from vi_airflow_provider.api.models.runs import (
        DeletedRun,
        DownloadUrl,
        Run,
        RunCondition,
        RunLogLine,
        RunLogs,
        RunOutput,
        RunOutputContents,
        RunOutputSpec,
        RunOutputStatus,
        RunSpec,
        RunStatus,
        SimpleRun,
        classify,
    )
    from vi_airflow_provider.api.models.training_projects import (
        AcceleratorConfiguration,
        AcceleratorItem,
        DeletedTrainingProject,
        FlowAcceleratorList,
        NameCheck,
        NameConflict,
        Organization,
        TrainingProject,
        TrainingProjectSpec,
        TrainingProjectStatus,
    )
    from vi_airflow_provider.api.run_state import RunState

__all__ = [
    "TWIN",
    "AcceleratorConfiguration",
    "AcceleratorItem",
    "DeletedFlow",
    "DeletedRun",
    "DeletedTrainingProject",
    "Document",
    "DownloadUrl",
    "Flow",
    "FlowAcceleratorList",
    "FlowBlock",
    "FlowPage",
    "FlowSpec",
    "FlowSpecPatch",
    "GuardedWrite",
    "NameCheck",
    "NameConflict",
    "Organization",
    "ResourceMetadata",
    "Run",
    "RunCondition",
    "RunLogLine",
    "RunLogs",
    "RunOutput",
    "RunOutputContents",
    "RunOutputSpec",
    "RunOutputStatus",
    "RunSpec",
    "RunState",
    "RunStatus",
    "SimpleFlow",
    "SimpleRun",
    "TrainingProject",
    "TrainingProjectSpec",
    "TrainingProjectStatus",
    "classify",
    "format_time",
    "last_update",
]


if not TYPE_CHECKING:  # or mypy would accept every misspelt name

    def __getattr__(name: str) -> Any:
        if name in __all__:
            for module in map(import_module, (f"{__name__}.runs", f"{__name__}.training_projects")):
                if hasattr(module, name):
                    return getattr(module, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

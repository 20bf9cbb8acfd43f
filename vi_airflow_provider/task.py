"""What every task of this provider has: a hook, a meaning for each error, a link. Importing it loads no library."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowNotFoundException,
    mask_secret,
)

from vi_airflow_provider.links.flows import ViFlowLink

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context

    from vi_airflow_provider.hooks.vi import ViHook

#: Template fields that do not have the name of their argument.
_FIELD_OF: Final[Mapping[str, str]] = {"dry_run": "dry_run_requested"}


class ViTaskMixin:
    """A task that calls Vi: where its hook comes from, what its errors mean, where its link leads."""

    vi_conn_id: str
    if TYPE_CHECKING:
        dag: Any
        has_dag: Any
        task_id: str
        template_fields: Sequence[str]

    @cached_property
    def hook(self) -> ViHook:
        """The hook of the task's connection."""
        from vi_airflow_provider.hooks.vi import ViHook

        return ViHook(self.vi_conn_id)

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, *rest: Any, **more: Any
    ) -> None:
        """Fill in the templates that the author of the DAG has written, and no others.

        Airflow spares what ``expand`` takes from an XCom, but fills in what ``expand_kwargs`` takes from one. That is
        data: with ``{{ conn.… }}`` in its name, a flow could read the secrets of every connection.
        """
        if parent is self:
            data = self._arguments_from_xcom(context)
            template_fields = [name for name in template_fields if name not in data]
        super()._do_render_template_fields(parent, template_fields, context, *rest, **more)  # type: ignore[misc]
        self._mask_url_secrets()

    def _arguments_from_xcom(self, context: Context) -> frozenset[str]:
        """Return the template fields that this task instance has by ``expand_kwargs`` from an XCom."""
        mapped: Any = self.dag.task_dict.get(self.task_id) if self.has_dag() else None
        kwargs = getattr(getattr(mapped, "expand_input", None), "value", None)
        if isinstance(kwargs, (list, tuple)):
            kwargs = kwargs[context["ti"].map_index or 0]
        if kwargs is None or isinstance(kwargs, Mapping):  # expand, or kwargs that the author has written
            return frozenset()
        # By identity, not by name: what an XCom brings may override what the author has written.
        group = getattr(mapped.task_group, "default_args", None) or {}
        written = {**(self.dag.default_args or {}), **group, **mapped.partial_kwargs}
        authored = {_FIELD_OF.get(name, name): value for name, value in written.items()}
        # What is in neither and not from the XCom is a default of ours, and has no template in it.
        return frozenset(
            name for name in self.template_fields if name not in authored or getattr(self, name) is not authored[name]
        )

    def _mask_url_secrets(self) -> None:
        """Have Airflow mask the secrets of URLs, which will be refused: it stores and shows what it has rendered."""
        from vi_airflow_provider.storage.files import url_secrets

        for value in (getattr(self, name) for name in self.template_fields):
            for secret in url_secrets(value) if isinstance(value, str) else ():
                mask_secret(secret)

    @contextmanager
    def session(self, context: Context, flow_id: object = None) -> Iterator[ViHook]:
        """Lend the hook for a block of calls, and close its connections afterwards.

        An error that another try cannot mend (credentials, permission, a bad value, a bad or missing connection)
        fails the task without Airflow retries.

        :param context: the task's context; the link "Open in Vi" is stored in its task instance
        :param flow_id: the flow that the task is about, if it is about one
        """
        from vi_airflow_provider.api.errors import ViError, ViValidationError
        from vi_airflow_provider.api.validation import checked_id

        try:
            if flow_id == "None":  # a valid id, but for a delete it would be "absent already", and nobody would notice
                raise ViValidationError("flow_id: the template rendered to None")
            url = self.hook.settings.ui_url("" if flow_id is None else checked_id(flow_id))
            if task_instance := context.get("ti"):
                task_instance.xcom_push(key=ViFlowLink().xcom_key, value=url)
            yield self.hook
        except ViError as error:
            if error.retryable:
                raise
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        except AirflowNotFoundException as error:  # no such connection
            raise AirflowFailException(str(error)) from error
        finally:
            self.hook.close()


def instance_of(context: Context) -> str:
    """Return what tells a task instance from all others; its tries have it in common."""
    ti = context["ti"]
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}"

"""What every task of this provider has: a hook, rendering that keeps data apart from templates, errors, a link.

Theory of operation: templates and data
---------------------------------------
Before a task is executed, Airflow renders every text in its template fields with Jinja. A template is code: with
``{{ conn.… }}`` it reads the secrets of every connection. The values of an operator come from three sources:

=====================================  ========  ==================================================================
source                                 rendered  by, or why not
=====================================  ========  ==================================================================
the DAG file, `partial`, default args  yes       Airflow: this is the author's own code
an XCom passed as an argument          no        Airflow resolves ``task.output`` and never renders the result
an XCom passed by ``expand_kwargs``    no        this module prevents it; Airflow would
=====================================  ========  ==================================================================

1. *An XCom is never rendered.* The name of an argument does not show where its value comes from: an XCom may override
   what the author wrote. So a value counts as the author's only if it is the identical object (``is``, not ``==``)
   that the author wrote. Any other value of a task mapped by ``expand_kwargs`` is data. If authored values were
   copied on their way, their templates would become data, which is visible at once. If they were compared by
   equality, data would become templates, which is a vulnerability.
2. *A text without a template is never rendered.* Jinja does not preserve text: it drops the last newline and ``{# …
   #}``, rewrites CRLF, and native rendering turns ``"1.10"`` into a number. A prompt would train something else than
   was written. The delimiters are those of the task's Jinja environment, since a DAG may choose its own. A comment
   does not make a template: ``{#`` alone is data.
3. *A document of Vi is never rendered.* Airflow renders any object that has ``template_fields`` and resolves any that
   has ``resolve``; a document has whatever fields a server sends.
4. *Rendered URLs are searched for secrets* before Airflow stores the rendered fields, which its UI shows.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.providers.common.compat.sdk import AirflowFailException, mask_secret

from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.links.flows import ViFlowLink
from vi_airflow_provider.selection.arguments import checked_flow_id, choice
from vi_airflow_provider.selection.combinations import Combination
from vi_airflow_provider.selection.literals import CHECKS, Check, is_plain_text, refuse_literals
from vi_airflow_provider.selection.xcom import refuse_reserved_keys, xcom_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow.providers.common.compat.sdk import Context

    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.hooks.vi import ViHook

log = logging.getLogger(__name__)

#: Where the classes of documents are defined; importing them would load their libraries.
_OWN_MODULES: Final = "vi_airflow_provider.api."
#: Template fields that do not have the name of their argument.
_FIELD_OF: Final[Mapping[str, str]] = {"dry_run": "dry_run_requested"}
_ARGUMENT_OF: Final[Mapping[str, str]] = {field: argument for argument, field in _FIELD_OF.items()}


class LazyModule:
    """A module that is imported when one of its names is used: by a task that executes, not by a DAG file.

    A type checker is shown the module itself, by an import under ``TYPE_CHECKING``.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # looked for by inspection and by copies
            raise AttributeError(name)
        return getattr(import_module(self._name), name)


class ViTaskMixin:
    """A task that calls Vi: its hook, its rendering, the meaning of its errors, its link."""

    vi_conn_id: str
    if TYPE_CHECKING:
        dag: Any
        do_xcom_push: bool
        has_dag: Any
        get_template_env: Any
        task_id: str
        template_fields: Sequence[str]

    @cached_property
    def hook(self) -> ViHook:
        """The hook of the task's connection."""
        from vi_airflow_provider.hooks.vi import ViHook

        return ViHook(self.vi_conn_id)

    # --- the DAG file ------------------------------------------------------------------------------------------

    #: The values that an argument may have, by its name.
    choices: ClassVar[Mapping[str, Collection[str]]] = {}
    #: What an argument means that has another meaning elsewhere.
    checks: ClassVar[Mapping[str, Check]] = {}
    #: Groups of arguments of which at least one must be given.
    required: ClassVar[Sequence[Collection[str]]] = ()
    #: Arguments that exclude or require each other.
    combinations: ClassVar[Sequence[Combination]] = ()

    def refuse_literals(self) -> None:
        """Refuse an argument of a task in a DAG that can never be right; the last step of each ``__init__``.

        :raises ViValidationError: Airflow shows it as an import error of the DAG file
        """
        # The arguments of an instance of a mapped task are data. They are checked when it is executed.
        if self.has_dag() and not getattr(self, "_BaseOperator__from_mapped", False):
            arguments = {_ARGUMENT_OF.get(field, field): value for field, value in vars(self).items()}
            # A DAG that chooses its own delimiters is rare, and reading them would create a template environment.
            has_own_delimiters = bool(getattr(self.dag, "jinja_environment_kwargs", None))
            refuse_literals(
                self.task_id,
                arguments,
                choices=self.choices,
                required=self.required,
                checks={**CHECKS, **self.checks},
                combinations=self.combinations,
                is_text=is_plain_text if has_own_delimiters else _has_no_template,
            )

    def chosen(self, name: str) -> str:
        """Return an argument that has one of a few values.

        :raises ViValidationError: it has another one
        """
        return choice(name, getattr(self, name), self.choices[name])

    # --- rendering ---------------------------------------------------------------------------------------------

    def render_template(
        self, content: Any, context: Context, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render a value as Airflow does, but return a text without a template, and a document, as it is."""
        if type(content).__module__.startswith(_OWN_MODULES):
            return content
        if isinstance(content, str):
            jinja_env = jinja_env or self.get_template_env()
            if not _has_template(content, jinja_env):
                return content
        return super().render_template(content, context, jinja_env, seen_oids)  # type: ignore[misc]

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, *rest: Any, **more: Any
    ) -> None:
        """Render the templates that the author of the DAG wrote, and no others.

        :raises AirflowFailException: an argument that limits what the task does has become ``None``
        """
        given: Collection[str] = ()
        if parent is self:
            data, given = self._fields_from_xcom(context), self._given_limits()
            template_fields = [name for name in template_fields if name not in data]
        super()._do_render_template_fields(parent, template_fields, context, *rest, **more)  # type: ignore[misc]
        self._mask_url_secrets()
        for name in given:
            if getattr(self, name) is None:
                raise AirflowFailException(
                    f"{_ARGUMENT_OF.get(name, name)}: the template or the earlier task returned None. Leave the "
                    "argument out if it is not to apply."
                )

    #: Whether a ``None`` that the author of the DAG wrote into a list of ``expand`` means that nothing is given.
    none_in_lists: ClassVar[bool] = True

    def limiting_fields(self) -> Collection[str]:
        """Return the template fields without which the task would do more, with fewer checks, or something else."""
        return ()

    def _given_limits(self) -> list[str]:
        """Return the limiting fields that the author of the DAG has given, before they are rendered."""
        expanded = self._expanded()
        lists = expanded.items() if isinstance(expanded, Mapping) else ()
        over = {_FIELD_OF.get(name, name) for name, values in lists if not (self.none_in_lists and _has_none(values))}
        return [name for name in self.limiting_fields() if name in over or getattr(self, name) is not None]

    def _mapped(self) -> Any:
        """Return the task of the DAG, which a mapped task is expanded from; ``None`` without a DAG."""
        return self.dag.task_dict.get(self.task_id) if self.has_dag() else None

    def _expanded(self) -> Any:
        """Return what ``expand`` or ``expand_kwargs`` was given, ``None`` if the task is not mapped."""
        return getattr(getattr(self._mapped(), "expand_input", None), "value", None)

    def _fields_from_xcom(self, context: Context) -> frozenset[str]:
        """Return the template fields whose values ``expand_kwargs`` took from an XCom for this task instance."""
        mapped, kwargs = self._mapped(), self._expanded()
        if isinstance(kwargs, (list, tuple)):
            kwargs = kwargs[context["ti"].map_index or 0]
        if kwargs is None or isinstance(kwargs, Mapping):  # `expand`, or kwargs that the author wrote
            return frozenset()
        group = getattr(mapped.task_group, "default_args", None) or {}
        written = {**(self.dag.default_args or {}), **group, **mapped.partial_kwargs}
        authored = {_FIELD_OF.get(name, name): value for name, value in written.items()}
        # A value that is neither authored nor from the XCom is a default of the operator, without a template.
        return frozenset(
            name for name in self.template_fields if name not in authored or getattr(self, name) is not authored[name]
        )

    def _mask_url_secrets(self) -> None:
        """Mask the secrets in URLs, although execution refuses such URLs: Airflow stores rendered fields before."""
        from vi_airflow_provider.storage.url_secrets import url_secrets

        for value in (getattr(self, name) for name in self.template_fields):
            for secret in url_secrets(value) if isinstance(value, str) else ():
                mask_secret(secret)

    # --- execution ---------------------------------------------------------------------------------------------

    @contextmanager
    def session(self, context: Context, flow_id: object = None) -> Iterator[ViHook]:
        """Lend the hook for a block of calls, and close its connections afterwards.

        An error that a later try cannot mend (credentials, permission, a bad value, unusable connection settings)
        fails the task without Airflow retries. All other errors leave the block as they are, so that Airflow retries.
        A connection that is not found is among those: Airflow raises the same for a secrets backend that is down.

        :param context: the task's context; the link "Open in Vi" is stored in its task instance
        :param flow_id: the flow that the task is about, if it is about one
        """
        try:
            url = self.hook.settings.ui_url("" if flow_id is None else checked_flow_id(flow_id))
            if task_instance := context.get("ti"):
                task_instance.xcom_push(key=ViFlowLink().xcom_key, value=url)
            yield self.hook
        except ViError as error:
            if error.retryable:
                raise
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        finally:
            self.hook.close()

    def returned(self, flow: Flow) -> dict[str, Any]:
        """Return a flow as the task's result, checked if that becomes an XCom.

        :raises ViValidationError: an XCom cannot carry the flow unchanged
        """
        return xcom_value(flow) if self.do_xcom_push else flow.model_dump(mode="json")

    def check_xcom(self, value: Any, flow_id: str | None = None) -> None:
        """Refuse data that would become an XCom and that an XCom cannot carry; before a write, nothing is written.

        :raises ViValidationError: as of :func:`~vi_airflow_provider.selection.xcom.refuse_reserved_keys`
        """
        if self.do_xcom_push:
            refuse_reserved_keys(value, flow_id)


def _has_none(values: Any) -> bool:
    """Return whether a list in a DAG file has a literal ``None``."""
    return isinstance(values, list | tuple) and any(value is None for value in values)


def _has_no_template(text: str) -> bool:
    """Return whether a text is no template with the usual delimiters."""
    return "{{" not in text and "{%" not in text


def _has_template(text: str, jinja_env: Any) -> bool:
    delimiters = (jinja_env.variable_start_string, jinja_env.block_start_string, jinja_env.line_statement_prefix)
    return any(delimiter and delimiter in text for delimiter in delimiters)


def instance_of(context: Context) -> str:
    """Return a key of the task instance, the same for each of its tries."""
    ti = context["ti"]
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}"


def task_state(context: Context) -> str | None:
    """Return the state that Airflow has stored of the task instance, ``None`` if it cannot be read.

    When a running task is to end, the state shows why: it is still ``running`` if only the worker goes away, and
    anything else if a person failed, cleared or marked the task.
    """
    ti: Any = context["ti"]
    try:
        if hasattr(ti, "get_task_states"):
            key = {"dag_id": ti.dag_id, "map_index": ti.map_index, "task_ids": [ti.task_id], "run_ids": [ti.run_id]}
            states = ti.get_task_states(**key).get(ti.run_id, {})
            return states.get(ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}")  # type: ignore[no-any-return]
        return type(ti).get_task_instance(ti.dag_id, ti.run_id, ti.task_id, ti.map_index).state  # type: ignore[no-any-return]
    except Exception as error:  # whatever the supervisor or the database raises: the state is unknown then
        log.warning("The state of the task cannot be read: %s", type(error).__name__)
        return None

"""The metadata of this provider for Airflow. Every Airflow process loads it, so it imports nothing.

Airflow 3.2 and later build the connection form from here alone; earlier versions call the hook, which reads the
same data (``ViHook.get_connection_form_widgets``).
"""

from __future__ import annotations

from typing import Any, Final

#: Id of the connection that a task or hook uses unless it names another.
DEFAULT_CONN_ID: Final = "vi_default"

_INTEGRATION = "Datature Vi"
_DOCS = "https://vi.developers.datature.com/docs/vi-sdk-flows"
_ASSET_URIS = {
    "schemes": ["vi"],
    "handler": "vi_airflow_provider.assets.sanitize_uri",
    "factory": "vi_airflow_provider.assets.create_asset",
    "to_openlineage_converter": "vi_airflow_provider.assets.convert_asset_to_openlineage",
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata (entry point ``apache_airflow_provider``)."""
    return {
        "package-name": "vi-airflow-provider",
        "name": _INTEGRATION,
        "description": "List, wait for, create, update, delete, audit and train the flows of Datature Vi.",
        "integrations": [{"integration-name": _INTEGRATION, "external-doc-url": _DOCS, "tags": ["service"]}],
        "hooks": [_modules("vi_airflow_provider.hooks.vi")],
        "operators": [
            _modules(
                "vi_airflow_provider.operators.flows",
                "vi_airflow_provider.operators.runs",
                "vi_airflow_provider.operators.prune_runs",
            )
        ],
        "sensors": [_modules("vi_airflow_provider.sensors.flows", "vi_airflow_provider.sensors.runs")],
        "triggers": [
            _modules(
                "vi_airflow_provider.triggers.flows",
                "vi_airflow_provider.triggers.runs",
                "vi_airflow_provider.triggers.run_states",
                "vi_airflow_provider.triggers.events",
            )
        ],
        "notifications": ["vi_airflow_provider.notifications.webhook.ViReportNotifier"],
        "asset-uris": [_ASSET_URIS],
        "dataset-uris": [_ASSET_URIS],  # the name that Airflow 2.11 reads
        "extra-links": ["vi_airflow_provider.links.flows.ViFlowLink", "vi_airflow_provider.links.runs.ViRunLink"],
        "config": {"vi": _config()},
        "cli": ["vi_airflow_provider.cli.definition.get_airflow_commands"],  # Airflow 3.2 and later
        "connection-types": [
            {
                "connection-type": "vi",
                "hook-class-name": "vi_airflow_provider.hooks.vi.ViHook",
                "hook-name": "Datature Vi",
                "ui-field-behaviour": _field_behaviour(),
                "conn-fields": _extra_fields(),
            }
        ],
    }


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": _INTEGRATION, "python-modules": list(names)}


def _config() -> dict[str, Any]:
    return {
        "description": "The page of Datature Vi in Airflow's web UI.",
        "options": {
            "ui_enabled": {
                "description": "Add the page to the menu Browse (Airflow 3.1 and later).",
                "version_added": "0.2.0",
                "type": "boolean",
                "example": None,
                "default": "True",
            },
            "ui_connections": {
                "description": (
                    "Ids of connections that the page offers in addition to those in Airflow's database, separated by "
                    "commas: connections of a secrets backend or of environment variables are not listed there."
                ),
                "version_added": "0.2.0",
                "type": "string",
                "example": "vi_production,vi_staging",
                "default": "",
            },
        },
    }


def _field_behaviour() -> dict[str, Any]:
    return {
        "hidden-fields": ["port", "schema"],
        "relabeling": {"host": "API endpoint", "login": "Organization ID", "password": "Secret key"},
        "placeholders": {
            "host": "https://api.vi.datature.com",
            "login": "the id in the web address of your organization",
            "password": "dtvi_…",
            **{name: default for name, (_, _, default, _) in _EXTRA.items() if default},
        },
    }


#: Fields of the extra: label, JSON type, default as the form shows it, description.
_EXTRA = {
    "page_size": (
        "Page size",
        "integer",
        "",
        "Flows per request of a listing. Empty: pages begin with 100 flows and grow.",
    ),
    "connect_timeout": ("Connect timeout (s)", "number", "10", "Seconds to reach the server."),
    "read_timeout": ("Read timeout (s)", "number", "60", "Seconds without a byte from the server."),
    "max_retries": ("Max retries", "integer", "3", "Further requests after 408, 5xx or a broken connection."),
    "max_rate_limit_retries": ("Max retries after 429", "integer", "20", "Further requests after a rate limit."),
    "max_retry_delay": (
        "Max retry delay (s)",
        "number",
        "60",
        "Longest single wait, even if Retry-After requests more.",
    ),
    "retry_budget": ("Retry budget (s)", "number", "600", "Seconds that one call may take with all its retries."),
    "verify": ("Verify TLS", "string", "true", "true, false, or the path of a CA file."),
    "proxy": ("Proxy", "string", "", "URL of a proxy. Empty: HTTPS_PROXY and NO_PROXY of the environment."),
    "allow_http": ("Allow plain HTTP", "boolean", "", "Show the secret key to the network on the way to the host."),
    "ui_url_template": (
        "Web address",
        "string",
        "https://vi.datature.com/org/{organization_id}",
        'Behind "Open in Vi"; {organization_id}, {flow_id} and {run_id} are filled in.',
    ),
    "namespace": ("Namespace", "string", "", "Different in each Airflow that uses this organization."),
}


def _extra_fields() -> dict[str, Any]:
    # No value is filled in: an empty field follows the provider's default, also when that changes.
    return {
        name: {
            "label": label,
            "description": f"{description} Default: {default}" if default else description,
            "schema": {"type": [kind, "null"]} | ({"format": "password"} if name == "proxy" else {}),
        }
        for name, (label, kind, default, description) in _EXTRA.items()
    }

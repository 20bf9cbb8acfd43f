"""What Airflow is told about this provider. Loaded by every Airflow process, so it imports nothing.

Airflow 3.2 and later build the connection form from here alone; earlier versions ask the hook, which reads the
same data (``ViHook.get_connection_form_widgets``).
"""

from __future__ import annotations

from typing import Any

_INTEGRATION = "Datature Vi"
_DOCS = "https://vi.developers.datature.com/docs/vi-sdk-flows"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata (entry point ``apache_airflow_provider``)."""
    return {
        "package-name": "vi-airflow-provider",
        "name": _INTEGRATION,
        "description": "List, wait for, create, update, delete and audit the flows of Datature Vi.",
        "integrations": [{"integration-name": _INTEGRATION, "external-doc-url": _DOCS, "tags": ["service"]}],
        "hooks": [_modules("vi_airflow_provider.hooks.vi")],
        "operators": [_modules("vi_airflow_provider.operators.flows")],
        "sensors": [_modules("vi_airflow_provider.sensors.flows")],
        "extra-links": ["vi_airflow_provider.links.flows.ViFlowLink"],
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


def _field_behaviour() -> dict[str, Any]:
    return {
        "hidden-fields": ["port", "schema"],
        "relabeling": {"host": "API endpoint", "login": "Organization ID", "password": "Secret key"},
        "placeholders": {
            "host": "https://api.vi.datature.com",
            "login": "the id in the web address of your organization",
            "password": "dtvi_…",
            "page_size": "100",
            "connect_timeout": "10",
            "read_timeout": "60",
            "max_retries": "3",
            "max_rate_limit_retries": "20",
            "max_retry_delay": "60",
            "retry_budget": "600",
            "verify": "true",
            "proxy": "http://proxy.example:3128",
            "ui_url_template": "https://vi.datature.com/org/{organization_id}",
        },
    }


def _extra_fields() -> dict[str, Any]:
    # No default is filled in: an empty field follows the provider's default, also when that changes.
    return {
        "page_size": _field("Page size", "integer", "Flows per request of a listing."),
        "connect_timeout": _field("Connect timeout (s)", "number", "Seconds to reach the server."),
        "read_timeout": _field("Read timeout (s)", "number", "Seconds without a byte from the server."),
        "max_retries": _field("Max retries", "integer", "Further requests after 408, 5xx or a broken connection."),
        "max_rate_limit_retries": _field(
            "Max retries after 429", "integer", "Further requests after the server's rate limit."
        ),
        "max_retry_delay": _field(
            "Max retry delay (s)", "number", "Longest single wait, also when Retry-After asks for more."
        ),
        "retry_budget": _field(
            "Retry budget (s)", "number", "Seconds that one call may take with all its retries and waits."
        ),
        "verify": _field("Verify TLS", "string", "true, false, or the path of a CA file."),
        "proxy": _field(
            "Proxy", "string", "URL of a proxy; empty: HTTPS_PROXY and NO_PROXY of the environment.", format="password"
        ),
        "allow_http": _field(
            "Allow plain HTTP", "boolean", "Send the secret key unencrypted to a host that is not this machine."
        ),
        "ui_url_template": _field(
            "Web address", "string", 'Behind "Open in Vi"; {organization_id} and {flow_id} are filled in.'
        ),
    }


def _field(label: str, kind: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}

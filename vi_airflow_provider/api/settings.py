"""Where to call, as whom, and how patiently: checked once, before any request.

Errors name the field of the Airflow connection that holds the value, because that is where a user corrects it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, quote, urlsplit
from urllib.request import getproxies_environment

from vi_airflow_provider import __version__
from vi_airflow_provider.api.errors import ViConfigurationError
from vi_airflow_provider.api.proxies import check_proxy, is_loopback, proxy_for, proxy_secrets
from vi_airflow_provider.api.run_state import FLOW_ID_ATTRIBUTE

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Run

DEFAULT_ENDPOINT: Final = "https://api.vi.datature.com"
DEFAULT_UI_URL: Final = "https://vi.datature.com/org/{organization_id}"

#: VI_API.md section 2; ``fullmatch``, because ``$`` would let a trailing newline through.
_ORGANIZATION_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")
_KEY_PREFIX: Final = "dtvi_"
_KEY_LENGTH: Final = 103
_KEY: Final = re.compile(f"{_KEY_PREFIX}[!-~]{{{_KEY_LENGTH - len(_KEY_PREFIX)}}}")


class Secret(str):
    """A string that a ``repr`` does not show: of a dataclass, a dict of headers, the locals of a traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __getitem__(self, index: Any) -> Secret:
        return Secret(super().__getitem__(index))  # rich cuts a long text before it calls repr()


@dataclass(frozen=True, kw_only=True)
class ViSettings:
    """All settings of a client.

    :param organization_id: the organization whose flows are managed
    :param secret_key: ``dtvi_`` key; surrounding white space is stripped
    :param endpoint: URL of the API; a path prefix is kept
    :param page_size: flows per page of a listing (the server may send fewer); by default, pages begin small and grow
    :param connect_timeout: seconds to reach the server
    :param read_timeout: seconds without a byte from the server
    :param max_retries: further requests after one that failed with 408, 5xx or a broken connection
    :param max_rate_limit_retries: further requests after 429
    :param max_retry_delay: upper bound in seconds of one wait, even if ``Retry-After`` requests more
    :param retry_budget: seconds that one call may take in total: requests, responses and waits
    :param verify: check the server's certificate; a path names the CA file or folder to trust
    :param proxy: URL of a proxy; without it, the environment's ``HTTPS_PROXY`` and ``NO_PROXY`` count
    :param allow_http: accept ``http://`` to a host that is not this machine
    :param ui_url_template: web address behind "Open in Vi"; ``{organization_id}``, ``{flow_id}`` and
        ``{run_id}`` are filled in
    :param namespace: distinguishes deployments of Airflow whose DAGs start runs or create flows in one organization
    :param user_agent: value of the ``User-Agent`` header
    :raises ViConfigurationError: a value is missing or unusable; the message names the connection's field
    """

    organization_id: str
    secret_key: str
    endpoint: str = DEFAULT_ENDPOINT
    page_size: int | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    max_retries: int = 3
    max_rate_limit_retries: int = 20
    max_retry_delay: float = 60.0
    retry_budget: float = 600.0
    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)
    allow_http: bool = False
    ui_url_template: str = DEFAULT_UI_URL
    namespace: str | None = None
    user_agent: str = f"vi-airflow-provider/{__version__} (Python {platform.python_version()})"

    def __post_init__(self) -> None:
        set_ = object.__setattr__  # the dataclass is frozen
        _refuse_misplaced_key("host", self.endpoint)
        _refuse_misplaced_key("login", self.organization_id)
        set_(self, "secret_key", _checked_key(self.secret_key))
        set_(self, "endpoint", _checked_endpoint(self.endpoint, allow_http=self.allow_http))
        if not isinstance(self.organization_id, str) or not _ORGANIZATION_ID.fullmatch(self.organization_id):
            what = "is missing" if not self.organization_id else f"{self.organization_id!r:.80} is not usable"
            raise ViConfigurationError(
                f"login: the organization id {what}; put the id there that the web address of your "
                "organization shows (letters, digits, '-' and '_', at most 255)"
            )
        for name in _NUMBERS:
            if (number := getattr(self, name)) is not None or name != "page_size":
                set_(self, name, _checked_number(name, number))
        if isinstance(self.verify, str):
            _check_ca(self.verify)
        if self.namespace is not None and not (self.namespace.isprintable() and 0 < len(self.namespace) <= 100):
            raise ViConfigurationError("extra.namespace: put a short text there, like prod")
        if self.proxy is not None:
            check_proxy("extra.proxy", self.proxy)
        try:
            usable = urlsplit(self.ui_url()).scheme in ("http", "https")
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ViConfigurationError(
                "extra.ui_url_template: only {organization_id}, {flow_id} and {run_id} can be filled in "
                f"({type(error).__name__}: {error})"
            ) from None
        if not usable:  # a button would run `javascript:`
            raise ViConfigurationError(f"extra.ui_url_template: put a URL like {DEFAULT_UI_URL} there")

    @classmethod
    def from_extra(cls, extra: Mapping[str, Any], **given: Any) -> ViSettings:
        """Build settings from a connection's extra, whose values may be text, as web forms write them.

        :raises ViConfigurationError: as the constructor does, and for an unknown key or a value of a wrong type
        """
        unknown = sorted(set(extra) - set(EXTRA_FIELDS))
        if unknown:
            raise ViConfigurationError(
                f"extra: unknown {', '.join(map(repr, unknown))}; choose from {', '.join(EXTRA_FIELDS)}"
            )
        for key, value in extra.items():
            _refuse_misplaced_key(f"extra.{key}", value)
        chosen = {key: _plain(key, value) for key, value in extra.items() if value not in (None, "")}
        return cls(**chosen, **given)

    def without_retries(self) -> ViSettings:
        """Return a copy for a caller that paces itself: each call is one request, each page of a listing another."""
        return replace(self, max_retries=0, max_rate_limit_retries=0)

    def ui_url(self, flow_id: str = "", run_id: str = "") -> str:
        """Return the address of a flow, or of the organization, in Vi's web application."""
        return self.ui_url_template.format(
            organization_id=self.organization_id, flow_id=quote(flow_id, safe=""), run_id=quote(run_id, safe="")
        )

    def run_url(self, run: Run) -> str:
        """Return the address of a run in Vi's web application."""
        return self.ui_url(run.metadata.attributes.get(FLOW_ID_ATTRIBUTE, ""), run.run_id)

    def ca_bundle(self) -> str | bool:
        """Return the file or folder of trusted CAs, or False to skip verification.

        Both clients trust the same: the setting, else the environment's bundle (corporate proxies), else certifi.
        """
        if self.verify is not True:
            return self.verify
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            if path := os.environ.get(name):
                if not Path(path).exists():
                    raise ViConfigurationError(f"{name}: the environment names {path!r}, which does not exist")
                return path
        import certifi

        return certifi.where()

    def proxy_url(self) -> Secret | None:
        """Return the proxy to use, ``None`` for a direct connection: the setting, else the environment's.

        :raises ViConfigurationError: the environment names a proxy that cannot be used
        """
        proxy = proxy_for(self.endpoint, self.proxy)
        return None if proxy is None else Secret(proxy)

    def secrets(self) -> tuple[Secret, ...]:
        """Return all secrets to redact: the key and the proxy password, percent-encoded and decoded."""
        return _secrets(self.secret_key, *proxy_secrets(self.proxy_url()))


def possible_secrets(password: str | None, *others: object) -> tuple[Secret, ...]:
    """Return what to redact of a connection that has not been checked.

    These are the password, and in any other field a key that does not belong there and the passwords of URLs. A proxy
    of the environment may be used as well.

    :param others: the values of the other fields
    """
    texts = [text for text in others if isinstance(text, str)]
    keys = [key for text in texts for key in _KEY.findall(text)]
    passwords = [secret for url in (*texts, *getproxies_environment().values()) for secret in proxy_secrets(url)]
    return _secrets((password or "").strip(), *keys, *passwords)


def _secrets(*texts: str) -> tuple[Secret, ...]:
    return tuple(Secret(text) for text in dict.fromkeys(texts) if text)


#: Keys of the connection's extra, in the order in which messages and the form list them.
EXTRA_FIELDS: Final = tuple(
    item.name
    for item in fields(ViSettings)
    if item.name not in ("organization_id", "secret_key", "endpoint", "user_agent")
)

#: Numeric settings with their bounds; a count is an int, a time in seconds a float.
_NUMBERS: Final[Mapping[str, tuple[type, float, float]]] = {
    "page_size": (int, 1, 10_000),
    "connect_timeout": (float, 0.001, 3600),
    "read_timeout": (float, 0.001, 3600),
    "max_retries": (int, 0, 100),
    "max_rate_limit_retries": (int, 0, 1000),
    "max_retry_delay": (float, 0, 3600),
    "retry_budget": (float, 0.001, 86_400),
}


def _checked_key(key: object) -> Secret:
    stripped = Secret(key.strip() if isinstance(key, str) else "")
    if not stripped:
        raise ViConfigurationError("password: the secret key is missing; put the organization's dtvi_… key there")
    # The message must not show the key, not even a wrong one: it may be a valid one with a typing error.
    if not re.fullmatch(r"[!-~]+", stripped):
        raise ViConfigurationError(
            "password: the secret key contains white space or characters outside ASCII; copy it again"
        )
    if not stripped.strip("*"):
        raise ViConfigurationError(
            "password: this is the mask that Airflow shows instead of the key; type the key again before you press Test"
        )
    if not stripped.startswith(_KEY_PREFIX) or len(stripped) != _KEY_LENGTH:
        raise ViConfigurationError(
            f"password: a secret key of Vi begins with {_KEY_PREFIX} and has {_KEY_LENGTH} characters; "
            f"this one has {len(stripped)}. Was it cut when it was copied?"
        )
    return stripped


def _refuse_misplaced_key(place: str, value: object) -> None:
    # Every field but the password is shown: in messages, addresses and logs.
    if isinstance(value, str) and re.search(_KEY_PREFIX + "[!-~]{40}", value):
        raise ViConfigurationError(f"{place}: this looks like a secret key, which belongs in the password only")


def _checked_endpoint(endpoint: object, *, allow_http: bool) -> str:
    def refuse(why: str) -> ViConfigurationError:
        return ViConfigurationError(f"host: {why}; put a URL like {DEFAULT_ENDPOINT} there")

    if not isinstance(endpoint, str) or not re.fullmatch(r"[!-~]+", endpoint):
        raise refuse("the API endpoint is empty, or contains white space or characters outside ASCII")
    try:
        url: SplitResult = urlsplit(endpoint)
        host, _ = url.hostname, url.port
    except ValueError as error:
        raise refuse(f"the API endpoint is not a URL ({error})") from None
    if "@" in url.netloc:
        raise refuse("credentials do not belong in the API endpoint (they go into login and password)")
    if url.scheme not in ("http", "https") or not host:
        raise refuse(f"the API endpoint {endpoint!r:.200} is not an http(s) URL")
    if "?" in endpoint or "#" in endpoint:
        raise refuse("the API endpoint has a query or a fragment")
    if url.scheme == "http" and not allow_http and not is_loopback(host):
        raise refuse(
            f"plain http:// would show the secret key to the network between here and {host} "
            "(extra.allow_http accepts that)"
        )
    return endpoint.rstrip("/")


def _check_ca(path: str) -> None:
    is_folder = Path(path).is_dir()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            None if is_folder else path, path if is_folder else None
        )
    except OSError as error:  # ssl.SSLError is one
        raise ViConfigurationError(
            f"extra.verify: {path!r:.200} is not a CA file or folder ({error.strerror}); "
            "give true, false or the path of one in PEM form"
        ) from None


def _checked_number(name: str, value: object) -> float:
    kind, low, high = _NUMBERS[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or (kind is int and value % 1 != 0):
        noun = "a whole number" if kind is int else "a number of seconds"
        raise ViConfigurationError(f"extra.{name}: {value!r:.80} is not {noun}")
    if not low <= value <= high:
        raise ViConfigurationError(f"extra.{name}: {value!r:.80} is out of range; it can be {low:g} to {high:g}")
    return kind(value)  # type: ignore[no-any-return]


def _plain(key: str, value: Any) -> Any:
    """Convert the text of a web form to the type of the setting; leave anything else to the checks."""
    if key in ("allow_http", "verify"):
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            value = value.strip().lower() == "true"
        if not isinstance(value, bool) and (key == "allow_http" or not isinstance(value, str)):
            also = " or the path of a CA file" if key == "verify" else ""
            raise ViConfigurationError(f"extra.{key}: {value!r:.80} is not true or false{also}")
    elif key in _NUMBERS:
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = float(value)
    elif not isinstance(value, str):
        raise ViConfigurationError(f"extra.{key}: {type(value).__name__} given, text expected")
    return value

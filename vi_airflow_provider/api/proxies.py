"""Which proxy a request goes through, decided by one rule for both clients, and checked before anything is sent.

The rule is the one of ``requests``, with which administrators test ``NO_PROXY``: a name matches itself and its
subdomains, with or without a port, and an IPv4 address matches exactly or by network. IPv6 networks match as well.
Only environment variables count: the system settings of macOS must not be read in a forked task process.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from vi_airflow_provider.api.errors import ViConfigurationError

_NO_BRACKETS: Final = str.maketrans("", "", "[]")
_EXAMPLE: Final = "put a URL like http://proxy.example:3128 there"


def proxy_for(endpoint: str, configured: str | None) -> str | None:
    """Return the URL of the proxy to use, ``None`` for a direct connection.

    :param configured: the proxy of the connection, which takes precedence over the environment
    :raises ViConfigurationError: the environment's proxy cannot be used; the message names the variable
    """
    if configured:
        return configured
    url = urlsplit(endpoint)
    proxies = getproxies_environment()
    scheme = url.scheme if url.scheme in proxies else "all"
    proxy = proxies.get(scheme)
    if not proxy or is_loopback(url.hostname or "") or bypasses_proxy(endpoint):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    check_proxy(f"{scheme.upper()}_PROXY of the environment", proxy)
    return proxy


def bypasses_proxy(endpoint: str) -> bool:
    """Does ``NO_PROXY`` exclude the host of this URL?"""
    no_proxy = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    entries = [entry for entry in no_proxy.replace(" ", "").split(",") if entry]
    url = urlsplit(endpoint)
    host = url.hostname or ""
    with_port = f"{host}:{url.port}" if url.port else host
    if (address := _address(host)) is not None:
        matches = any(_contains(entry, address) for entry in entries)
    else:
        domains = {entry.lstrip(".") for entry in entries}
        matches = any(f".{name}".endswith(f".{domain}") for domain in domains for name in (host, with_port))
    return matches or bool(proxy_bypass_environment(host, {"no": no_proxy}))


def check_proxy(place: str, proxy: object) -> None:
    """Refuse a proxy URL that a client cannot use.

    The message does not quote the URL: it may hold a password, even where none is expected.

    :param place: the field or the variable that holds the URL
    :raises ViConfigurationError: it is not an http(s) URL, or its credentials cannot be sent
    """

    def refuse(problem: str) -> ViConfigurationError:
        return ViConfigurationError(f"{place}: {problem}")

    if not isinstance(proxy, str) or not re.fullmatch(r"[^\s\x00-\x1f\x7f]+", proxy):
        raise refuse(f"this is not an http(s) URL: it is empty or contains white space; {_EXAMPLE}")
    authority = proxy.partition("://")[2]
    if "@" in _after_authority(authority) or authority.count("@") > 1:
        raise refuse("the credentials contain @, /, ? or #; percent-encode these characters (%40, %2F, %3F, %23)")
    try:
        url = urlsplit(proxy)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        raise refuse(f"this is not an http(s) URL: host or port is not valid; {_EXAMPLE}") from None
    if url.scheme.startswith("socks"):
        raise refuse(f"this is not an http(s) URL: SOCKS proxies are not supported; {_EXAMPLE}")
    if not usable:
        raise refuse(f"this is not an http(s) URL; {_EXAMPLE}")
    _check_credentials(url, refuse)


def proxy_secrets(proxy: str | None) -> tuple[str, ...]:
    """Return the password of a proxy URL, percent-encoded and decoded. The URL may be one that cannot be used."""
    credentials = (proxy or "").rpartition("@")[0].rpartition("://")[2]
    password = credentials.partition(":")[2]
    return tuple(filter(None, (password, unquote(password))))


def is_loopback(host: str) -> bool:
    """Does a host name mean this machine? No name is resolved."""
    address = _address(host)
    return host == "localhost" or host.endswith(".localhost") if address is None else address.is_loopback


def _after_authority(text: str) -> str:
    return "".join(re.split(r"([/?#])", text, maxsplit=1)[1:])


def _check_credentials(url: SplitResult, refuse: Callable[[str], ViConfigurationError]) -> None:
    try:
        f"{unquote(url.username or '')}:{unquote(url.password or '')}".encode("latin-1")
    except UnicodeEncodeError:
        raise refuse("the credentials contain characters outside Latin-1, which a proxy cannot read") from None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _contains(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(entry.translate(_NO_BRACKETS), strict=False)
    except ValueError:
        return False

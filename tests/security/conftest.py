"""A clean environment, without proxies or CAs of this machine."""

from tests.unit.conftest import _plain_environment

__all__ = ["_plain_environment"]

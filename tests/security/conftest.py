"""A machine without proxies and CAs of its own."""

from tests.unit.conftest import _plain_environment

__all__ = ["_plain_environment"]

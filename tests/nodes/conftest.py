"""Schemas are read inside the hosts, so this ring shares the host ring's fixtures."""

from ..host.conftest import host, in_host  # noqa: F401

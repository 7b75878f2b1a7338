"""The console: importing this package registers every page of it."""

from __future__ import annotations

from tenants.admin import aliases, keys, people, prices, requests, tenants

__all__ = ["aliases", "keys", "people", "prices", "requests", "tenants"]

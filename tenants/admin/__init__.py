"""The console: importing this package registers every page of it."""

from __future__ import annotations

from tenants.admin import aliases, budgets, keys, people, prices, requests, tenants

__all__ = ["aliases", "budgets", "keys", "people", "prices", "requests", "tenants"]

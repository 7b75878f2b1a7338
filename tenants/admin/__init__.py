"""The console: importing this package registers every page of it."""

from __future__ import annotations

from tenants.admin import aliases, audit, budgets, keys, people, prices, requests, tenants

__all__ = ["aliases", "audit", "budgets", "keys", "people", "prices", "requests", "tenants"]

"""The console is django.contrib.admin with our own site."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AdminConfig):
    default_site = "tenants.admin.site.ConsoleSite"

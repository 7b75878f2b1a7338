"""The console's addresses where single sign-on is on: Django reads them once, so the tests name this file instead."""

from __future__ import annotations

from django.urls import include, path

from proxysite.urls import handler400, handler403, handler404, handler500
from proxysite.urls import urlpatterns as without

__all__ = ["handler400", "handler403", "handler404", "handler500"]

urlpatterns = [path("admin/sso/", include("proxysite.sso.urls")), *without]

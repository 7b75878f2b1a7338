"""Every path of the API door."""

from __future__ import annotations

from django.urls import include, path

from proxysite import health

urlpatterns = [
    path("healthz", health.Alive.as_view()),
    path("readyz", health.Ready.as_view()),
    path("metrics", health.Metrics.as_view()),
    path("", include("bridge.urls")),
]

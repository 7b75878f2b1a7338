"""The console door's addresses; every other path is the API door's and never comes here."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from proxysite.landing import landing

urlpatterns = [
    path("", landing, name="landing"),
    path("admin/", admin.site.urls),
]
if settings.OIDC_ISSUER:  # before the console's own, which takes whatever begins like it
    urlpatterns.insert(0, path("admin/sso/", include("proxysite.sso.urls")))

handler400 = "proxysite.landing.bad_request"
handler403 = "proxysite.landing.forbidden"
handler404 = "proxysite.landing.not_found"
handler500 = "proxysite.landing.server_error"

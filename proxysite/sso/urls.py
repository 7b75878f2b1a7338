from __future__ import annotations

from django.urls import path

from proxysite.sso import views

app_name = "sso"
urlpatterns = [
    path("", views.begin, name="begin"),
    path("callback/", views.callback, name="callback"),
]

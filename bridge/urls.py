"""Every endpoint at /v1/… and at /…: the oldest clients leave the version out. The door removes double and trailing
slashes before these patterns see a path."""

from __future__ import annotations

from django.urls import include, path

from bridge import views

endpoints = [
    path("chat/completions", views.ChatCompletions.as_view()),
    path("engines/<path:model>/chat/completions", views.ChatCompletions.as_view()),
    path("openai/deployments/<path:model>/chat/completions", views.ChatCompletions.as_view()),
    path("responses", views.Responses.as_view()),
    path("responses/compact", views.Compaction.as_view()),
    path("responses/input_tokens", views.InputTokens.as_view()),
    path("completions", views.Completions.as_view()),
    path("engines/<path:model>/completions", views.Completions.as_view()),
    path("openai/deployments/<path:model>/completions", views.Completions.as_view()),
    path("messages", views.Messages.as_view()),
    path("messages/count_tokens", views.CountTokens.as_view()),
    path("models", views.Models.as_view()),
    path("models/<path:model>", views.ModelDetail.as_view()),
    path("key", views.KeyDetail.as_view()),
]

urlpatterns = [path("v1/", include(endpoints)), path("", include(endpoints))]

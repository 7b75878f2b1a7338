"""The endpoints. Each picks what the pipeline needs and hands over."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http.response import HttpResponseBase

from bridge import listing, pipeline
from bridge.api import ApiRequest, AsyncAPIView
from bridge.dialects import checks
from bridge.responses import as_response


class ChatCompletions(AsyncAPIView):
    """POST chat/completions, and the two older URLs that carry the model."""

    inference = True
    dialect = "chat"

    async def post(self, request: ApiRequest, model: str | None = None) -> HttpResponseBase:
        return as_response(await pipeline.serve(request.services, request.call, request.data, model))


class Models(AsyncAPIView):
    """GET models: what this key may use, a page at a time."""

    async def get(self, request: ApiRequest) -> dict[str, Any]:
        models = await pipeline.models(request.services, request.caller)
        limit = checks.a_page_size(request.query_params.get("limit"), settings.MODELS_PAGE_SIZE)
        return listing.page(models, limit, request.query_params.get("after"))


class ModelDetail(AsyncAPIView):
    """GET models/{id}."""

    async def get(self, request: ApiRequest, model: str) -> dict[str, Any]:
        return await pipeline.model(request.services, request.caller, model)


class KeyDetail(AsyncAPIView):
    """GET key: what this key is and may do."""

    async def get(self, request: ApiRequest) -> dict[str, Any]:
        return pipeline.describe(request.caller)

"""The endpoints. Each picks a dialect and hands over."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http.response import HttpResponseBase

from bridge import listing, pipeline
from bridge.api import ApiRequest, AsyncAPIView
from bridge.chat import CHAT
from bridge.compaction_api import COMPACTION
from bridge.completions import COMPLETIONS
from bridge.dialects import checks
from bridge.dialects.messages import MESSAGES
from bridge.responses import as_response
from bridge.responses_api import RESPONSES
from bridge.speech import Counter, Dialect


class Inference(AsyncAPIView):
    """An endpoint that asks a model something, in its dialect; the two oldest URLs carry the model."""

    inference = True

    async def post(self, request: ApiRequest, model: str | None = None) -> HttpResponseBase:
        return as_response(await pipeline.serve(request.services, self.dialect, request.call, request.asked(model)))


class ChatCompletions(Inference):
    """POST chat/completions."""

    dialect = CHAT


class Responses(Inference):
    """POST responses, or one WebSocket for many of them."""

    websocket = True
    dialect = RESPONSES


class Compaction(Inference):
    """POST responses/compact: a conversation made shorter."""

    dialect = COMPACTION


class Completions(Inference):
    """POST completions: the API of 2021, for what still speaks it."""

    dialect = COMPLETIONS


class Messages(Inference):
    """POST messages: Anthropic's own API."""

    dialect = MESSAGES


class CountTokens(AsyncAPIView):
    """POST messages/count_tokens: costs nothing and leaves no record."""

    dialect: Dialect = MESSAGES
    counter: Counter = MESSAGES

    async def post(self, request: ApiRequest) -> Any:
        return as_response(await pipeline.count_tokens(request.services, request.caller, self.counter, request.asked()))


class InputTokens(CountTokens):
    """POST responses/input_tokens: the same in OpenAI's words."""

    dialect = RESPONSES
    counter = RESPONSES


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
        return await pipeline.describe(request.services, request.caller)

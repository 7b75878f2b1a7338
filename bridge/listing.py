"""The list of models in OpenAI's shape: upstream's own, kept for a while, or the registry when upstream is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bridge.catalog import Catalog, as_info
from bridge.errors import ApiError
from bridge.upstream_account import Sends
from tenants.values import Credential

log = logging.getLogger(__name__)

FRESH_SECONDS = 600.0
RETRY_SECONDS = 30.0  # after a failure, how long the old list (or the registry) serves before the next try
MOST_PAGES = 20
MOST_KEPT = 64

Info = dict[str, Any]  # Anthropic's ModelInfo


class Listing:
    """Upstream's models, fetched when first asked for and refreshed in the background after ten minutes."""

    def __init__(self, catalog: Catalog, learns: bool = True) -> None:
        self._catalog, self._learns = catalog, learns
        self._infos: list[Info] = [as_info(model) for model in catalog.models]
        self._due = 0.0
        self._refresh: asyncio.Task[None] | None = None
        self._asked = False

    async def models(self, upstream: Sends | None) -> list[dict[str, Any]]:
        """Every model as OpenAI shapes it, newest first. The first caller waits for upstream, later ones never do."""
        if upstream is not None and time.monotonic() > self._due and self._refresh is None:
            self._refresh = asyncio.create_task(self._fetch(upstream))
            self._refresh.add_done_callback(self._refreshed)
        if self._refresh is not None and not self._asked:
            await asyncio.shield(self._refresh)
        return [as_openai(info) for info in self._infos]

    def close(self) -> None:
        if self._refresh is not None:
            self._refresh.cancel()

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refresh, self._asked = None, True

    async def _fetch(self, upstream: Sends) -> None:
        self._due = time.monotonic() + RETRY_SECONDS
        try:
            infos = await _all_pages(upstream)
        except ApiError as error:
            log.warning("the list of models could not be fetched", extra={"error": error.message})
            return
        if infos:
            self._infos = infos
            if self._learns:
                self._catalog.learn(infos)
            self._due = time.monotonic() + FRESH_SECONDS


class OwnListings:
    """A list for each key that is not the site's: what one account may use is nobody else's business, so the catalog
    learns nothing from them. Those that were not asked for longest go."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._kept: dict[int | str, Listing] = {}

    def of(self, credential: Credential) -> Listing:
        place = credential.id or credential.hint
        found = self._kept.pop(place, None) or Listing(self._catalog, learns=False)
        self._kept[place] = found
        if len(self._kept) > MOST_KEPT:
            self._kept.pop(next(iter(self._kept))).close()
        return found

    def close(self) -> None:
        for listing in self._kept.values():
            listing.close()


async def _all_pages(upstream: Sends) -> list[Info]:
    infos: list[Info] = []
    params = {"limit": "1000"}
    for _ in range(MOST_PAGES):
        page = await upstream.get("/v1/models", params)
        if not isinstance(page, dict) or not isinstance(page.get("data"), list):
            raise ApiError("upstream_malformed", "Upstream's list of models has an unknown form.")
        infos += [info for info in page["data"] if isinstance(info, dict) and isinstance(info.get("id"), str)]
        last = page.get("last_id")
        if not page.get("has_more") or not isinstance(last, str):
            break
        params["after_id"] = last
    return infos


def as_openai(info: Info) -> dict[str, Any]:
    """OpenAI's Model, with the extra keys that chat front ends look for."""
    model: dict[str, Any] = {"id": info["id"], "object": "model", "created": _created(info), "owned_by": "anthropic"}
    for name, source in (
        ("display_name", "display_name"),
        ("context_window", "max_input_tokens"),
        ("context_length", "max_input_tokens"),
        ("max_output_tokens", "max_tokens"),
    ):
        if info.get(source) is not None:
            model[name] = info[source]
    return model


def _created(info: Info) -> int:
    try:
        return max(0, int(datetime.fromisoformat(str(info.get("created_at"))).timestamp()))
    except (ValueError, OverflowError):
        return 0


def with_aliases(models: list[dict[str, Any]], aliases: Mapping[str, str], catalog: Catalog) -> list[dict[str, Any]]:
    """The models and, before them, the names that stand for one of them."""
    by_id = {model["id"]: model for model in models}
    named = []
    for name, target in aliases.items():
        meant = by_id.get(target) or by_id.get(catalog.resolve(target).id)
        if meant is not None and name not in by_id:
            named.append({**meant, "id": name, "alias_of": meant["id"]})
    return named + models


def page(models: list[dict[str, Any]], limit: int, after: str | None) -> dict[str, Any]:
    """One page of the list. Raises ApiError for an `after` that is not in it."""
    start = 0
    if after is not None:
        ids = [model["id"] for model in models]
        if after not in ids:
            raise ApiError("invalid_value", f"Invalid value for 'after': there is no model `{after[:200]}`.", "after")
        start = ids.index(after) + 1
    data = models[start : start + limit]
    return {
        "object": "list",
        "data": data,
        "has_more": start + limit < len(models),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }

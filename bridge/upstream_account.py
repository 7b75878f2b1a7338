"""Upstream with another key than the site's: a tenant's own, or the one a caller sent.

It goes out as the header of one call and is kept nowhere here. What upstream thinks of it is told to whoever can do
something: the caller of their own key, the site of a tenant's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from bridge.errors import ApiError
from bridge.upstream import Upstream
from bridge.upstream_answer import Answer
from tenants.values import Credential

# The credential and how upstream refused it; an empty text: it works again.
Tell = Callable[[Credential, str], None]

_NO_HEADERS: Mapping[str, str] = {}
_TEXTS = {
    "upstream_auth": "The Anthropic key of this tenant is refused upstream; whoever runs this gateway can replace it.",
    "upstream_billing": "The Anthropic account of this tenant has a problem; whoever runs this gateway can see which.",
}


class Account:
    """An Upstream for one credential: `send`, `get` and `post` as there."""

    def __init__(self, upstream: Upstream, credential: Credential, tell: Tell) -> None:
        self._upstream, self._credential, self._tell = upstream, credential, tell

    async def send(
        self, body: bytes, *, retry: bool = True, headers: Mapping[str, str] = _NO_HEADERS, frames: bool = False
    ) -> Answer:
        try:
            answer = await self._upstream.send(body, retry=retry, headers=self._signed(headers), frames=frames)
        except ApiError as error:
            raise self._judged(error) from error
        self._worked()
        return answer

    async def get(self, path: str, params: Mapping[str, str], seconds: float = 5.0) -> Any:
        try:
            answer = await self._upstream.get(path, params, seconds, self._signed(_NO_HEADERS))
        except ApiError as error:
            raise self._judged(error) from error
        self._worked()
        return answer

    async def post(self, path: str, body: bytes, headers: Mapping[str, str], seconds: float = 30.0) -> Any:
        try:
            answer = await self._upstream.post(path, body, self._signed(headers), seconds)
        except ApiError as error:
            raise self._judged(error) from error
        self._worked()
        return answer

    def _signed(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Raises ApiError for a key that could not be decrypted: the site's must not stand in for it."""
        if not self._credential.secret:
            raise ApiError("upstream_auth", _TEXTS["upstream_auth"], retry=False)
        return {**headers, "x-api-key": self._credential.secret}

    def _worked(self) -> None:
        if self._credential.refused:
            self._tell(self._credential, "")

    def _judged(self, error: ApiError) -> ApiError:
        """What upstream's refusal of this key means for the client; no detail of anybody else's account."""
        if error.kind not in _TEXTS:
            return error
        if self._credential.is_callers:
            if error.kind == "upstream_auth":
                return replace(
                    error, kind="bad_key", message="Anthropic refused the API key that you sent.", retry=False
                )
            return replace(error, message="The Anthropic account of the key that you sent has a billing problem.")
        if not self._credential.refused:
            self._tell(self._credential, error.kind)
        return replace(error, message=_TEXTS[error.kind], retry=False)


Sends = Upstream | Account

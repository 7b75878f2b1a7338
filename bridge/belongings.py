"""What a request may name of the upstream account, which all tenants share that have no credential of their own.

Files, custom skills   refused: whoever knows an id would read what belongs to another tenant
Containers             (where Claude's code runs) are the tenant's that was told of them: an answer's id leaves with the
                       tenant's seal, and no other id is taken back

What else the account holds cannot be named: dialects/betas.py refuses the betas that reach it, and there are no routes.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec

from bridge.errors import ApiError
from bridge.wire.anthropic import Frame
from bridge.wire.search import may_name

Json = dict[str, Any]

# An event that may name a container, and where in it.
_NAMED = b'"container"'
_PLACES = {"message_start": "message", "message_delta": "delta"}
_SEAL_LENGTH = 32
_SHARED = "this key shares its upstream account with other tenants"


class Belongings:
    """One tenant's share of an account."""

    def __init__(self, secret: str, tenant_id: int) -> None:
        self._secret, self._tenant = secret.encode(), f"container:{tenant_id}:"

    def opened(self, request: Json) -> Json:
        """The request as it goes upstream. Raises ApiError (400) if it names what is not this tenant's."""
        for turn in _dicts(request.get("messages")):
            _refuse_files(turn)
        given = request.get("container")
        return request if given is None else {**request, "container": self._container(given)}

    def sealed(self, frames: list[Frame]) -> list[Frame]:
        """The same events with the ids of containers as this tenant may know them."""
        return [self._frame(frame) if _NAMED in frame.data else frame for frame in frames]

    def _container(self, given: Any) -> Any:
        if isinstance(given, str):
            return self._identifier(given)
        if not isinstance(given, dict):
            raise ApiError("invalid_type", "container: Input should be a string or an object", "container")
        if any(skill.get("type") != "anthropic" for skill in _dicts(given.get("skills"))):
            raise ApiError(
                "invalid_value", f"container.skills: only Anthropic's own skills, for {_SHARED}.", "container"
            )
        return given if given.get("id") is None else {**given, "id": self._identifier(given["id"])}

    def _identifier(self, given: Any) -> str:
        container, _, seal = str(given).rpartition(".")
        if not hmac.compare_digest(seal.encode(), self._seal(container).encode()):
            text = "container: not one of this tenant's; an id is expected as an earlier answer gave it."
            raise ApiError("invalid_value", text, "container")
        return container

    def _seal(self, container: str) -> str:
        text = (self._tenant + container).encode(errors="replace")
        return hmac.digest(self._secret, text, hashlib.sha256).hex()[:_SEAL_LENGTH]

    def _frame(self, frame: Frame) -> Frame:
        """Encoded anew: the only events of the native API that are not upstream's own bytes."""
        event = msgspec.json.decode(frame.data)
        told = event.get(_PLACES.get(event["type"], ""))
        container = told.get("container") if isinstance(told, dict) else None
        if not isinstance(container, dict) or not isinstance(container.get("id"), str):
            return frame
        container["id"] = f"{container['id']}.{self._seal(container['id'])}"
        data = msgspec.json.encode(event)
        return Frame(b"event: " + event["type"].encode() + b"\ndata: " + data + b"\n\n", data)


def names_any(content: bytes) -> bool:
    """Whether a request may name what belongs to somebody, by its JSON."""
    return may_name(content, b'"file_id"', _NAMED)


def _refuse_files(turn: Json) -> None:
    """A `file_id` in a block is a file to be read. (In what code put out before it only tells of one; the arguments of
    a call are the client's own.)"""
    level = [turn]
    while level:
        for block in level:
            if "file_id" in block and not str(block.get("type")).endswith("_output"):
                text = f"messages: a file_id cannot be used: {_SHARED}. Send the file inside the request instead."
                raise ApiError("unsupported_value", text, "messages")
        level = [inner for block in level for name in ("content", "source") for inner in _dicts(block.get(name))]


def _dicts(value: Any) -> list[Json]:
    """The objects in it, if it is a list; itself, if it is one."""
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []

"""Every error a client can get, from one table, and what each upstream failure becomes.

    ApiError        one error, in OpenAI's shape: message, type, param, code
    KINDS           our own errors by name
    from_status     an upstream status and body → ApiError
    from_event      an upstream `error` event → ApiError

Status, type and code follow OpenAI's (reference: openai/openai-openapi and the SDKs); texts keep the words that clients
match on. Upstream's 401 and 403 are about *our* account and never become the client's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class Kind:
    status: int
    type: str
    code: str | None


_INVALID = "invalid_request_error"

KINDS: dict[str, Kind] = {
    # the client's request
    "invalid_json": Kind(400, _INVALID, None),
    "missing": Kind(400, _INVALID, "missing_required_parameter"),
    "invalid_type": Kind(400, _INVALID, "invalid_type"),
    "invalid_value": Kind(400, _INVALID, "invalid_value"),
    "invalid_image": Kind(400, _INVALID, "invalid_image_url"),
    "empty_array": Kind(400, _INVALID, "empty_array"),
    "below_min": Kind(400, _INVALID, "integer_below_min_value"),
    "above_max": Kind(400, _INVALID, "integer_above_max_value"),
    "decimal_below_min": Kind(400, _INVALID, "decimal_below_min_value"),
    "decimal_above_max": Kind(400, _INVALID, "decimal_above_max_value"),
    "array_too_long": Kind(400, _INVALID, "array_above_max_length"),
    "unsupported_parameter": Kind(400, _INVALID, "unsupported_parameter"),
    "unsupported_value": Kind(400, _INVALID, "unsupported_value"),
    "rejected_upstream": Kind(400, _INVALID, None),
    "context_length_exceeded": Kind(400, _INVALID, "context_length_exceeded"),
    "previous_response": Kind(400, _INVALID, "previous_response_not_found"),
    "connection_expired": Kind(400, _INVALID, "websocket_connection_limit_reached"),
    "bad_header": Kind(400, _INVALID, "invalid_header"),
    "idempotency_key_reused": Kind(400, _INVALID, "idempotency_key_reused"),
    # who is asking
    "no_key": Kind(401, _INVALID, "invalid_api_key"),
    "bad_key": Kind(401, _INVALID, "invalid_api_key"),
    "wrong_network": Kind(403, _INVALID, "ip_not_authorized"),
    "model_not_found": Kind(404, _INVALID, "model_not_found"),
    "not_found": Kind(404, _INVALID, "not_found"),
    "cost_unknown": Kind(403, _INVALID, "cost_unknown"),
    "not_priced": Kind(403, _INVALID, "model_not_priced"),
    # the way here
    "unknown_url": Kind(404, _INVALID, "unknown_url"),
    "method_not_allowed": Kind(405, _INVALID, "method_not_supported"),
    "body_timeout": Kind(408, _INVALID, "request_timeout"),
    "too_large": Kind(413, _INVALID, "request_too_large"),
    "unsupported_encoding": Kind(415, _INVALID, "unsupported_media_type"),
    # Bridge itself
    "internal": Kind(500, "server_error", "internal_error"),
    "not_configured": Kind(503, "server_error", "upstream_not_configured"),
    "keys_unavailable": Kind(503, "server_error", "key_store_unavailable"),
    "budgets_unavailable": Kind(503, "server_error", "budget_store_unavailable"),
    "record_unavailable": Kind(503, "server_error", "record_unavailable"),
    "in_progress": Kind(503, "server_error", "request_in_progress"),
    "replays_unavailable": Kind(503, "server_error", "idempotency_unavailable"),
    "overloaded_here": Kind(503, "server_error", "server_is_overloaded"),
    "shutdown": Kind(503, "server_error", "server_shutdown"),
    "insufficient_quota": Kind(429, "insufficient_quota", "insufficient_quota"),
    # upstream
    "rate_limited": Kind(429, "rate_limit_error", "rate_limit_exceeded"),
    "upstream_error": Kind(502, "server_error", "upstream_error"),
    "upstream_unreachable": Kind(502, "server_error", "upstream_unreachable"),
    "upstream_truncated": Kind(502, "server_error", "upstream_truncated"),
    "not_compacted": Kind(502, "server_error", "compaction_failed"),
    "upstream_malformed": Kind(502, "server_error", "upstream_malformed"),
    "upstream_auth": Kind(503, "server_error", "upstream_auth_error"),
    "upstream_billing": Kind(503, "server_error", "upstream_billing_error"),
    "overloaded": Kind(503, "service_unavailable_error", "server_is_overloaded"),
    "upstream_timeout": Kind(504, "server_error", "upstream_timeout"),
    "upstream_stalled": Kind(504, "server_error", "upstream_stalled"),
}


@dataclass(eq=False)
class ApiError(Exception):
    """An error for the client. `headers` go on the answer; `retry` False tells SDKs not to (x-should-retry)."""

    kind: str
    message: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    retry: bool | None = None
    attempts: int = 0  # calls made upstream, for the record
    upstream_id: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)  # for the record of a refusal: which rule, its numbers
    said: str = ""  # in upstream's own words, for clients that speak its language

    def __post_init__(self) -> None:
        super().__init__(self.message)

    @property
    def status(self) -> int:
        return KINDS[self.kind].status

    @property
    def code(self) -> str | None:
        return KINDS[self.kind].code

    def body(self) -> dict[str, Any]:
        """OpenAI's error object, all four keys always there."""
        kind = KINDS[self.kind]
        return {"error": {"message": self.message, "type": kind.type, "param": self.param, "code": kind.code}}

    def all_headers(self) -> dict[str, str]:
        return dict(self.headers) if self.retry is None else {**self.headers, "x-should-retry": str(self.retry).lower()}


def forget(problem: BaseException | None) -> None:
    """Takes from an error that has been dealt with, and from what led to it, the frames that they came through. These
    hold the request, and the errors themselves: a circle that would wait for the garbage collector, however large.
    """
    while problem is not None:
        before = problem.__cause__ or problem.__context__
        problem.__traceback__ = problem.__cause__ = problem.__context__ = None
        problem = before


def internal() -> ApiError:
    return ApiError("internal", "The server had an error while processing your request.")


def record_unavailable() -> ApiError:
    """The journal cannot be written: what is not on record does not happen."""
    text = "The request could not be put on record and was not sent; try again shortly."
    return ApiError("record_unavailable", text, headers={"retry-after": "5"})


def shutdown() -> ApiError:
    return ApiError("shutdown", "The gateway is restarting and could not finish this answer; try again.")


# --- Upstream's errors ----------------------------------------------------------------------------------------------

_ACCOUNT = "The upstream account of this gateway has a problem; its administrator can see which."

# By Anthropic's error type (no text: upstream's own words are for the client); by HTTP status where there is none (an
# HTML page from the edge, an empty body).
_BY_TYPE: dict[str, tuple[str, str | None]] = {
    "invalid_request_error": ("rejected_upstream", None),
    "authentication_error": ("upstream_auth", _ACCOUNT),
    "permission_error": ("upstream_auth", _ACCOUNT),
    "billing_error": ("upstream_billing", _ACCOUNT),
    "not_found_error": ("model_not_found", None),
    "request_too_large": ("too_large", None),
    "rate_limit_error": ("rate_limited", None),
    "timeout_error": ("upstream_timeout", "Upstream timed out while working on the request."),
    "overloaded_error": ("overloaded", "The engine is currently overloaded, please try again later."),
    "conflict_error": ("upstream_error", "Upstream reported a conflict; try again."),
    "api_error": ("upstream_error", "Upstream had an error while processing the request."),
}
_TYPE_BY_STATUS: dict[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# An invalid_request_error that is not the client's fault, or that clients know by another code.
_BILLING = re.compile(r"credit balance is too low|reached your specified API usage limits", re.I)
_TOO_LONG = re.compile(r"prompt is too long(?:: (\d+) tokens > (\d+) maximum)?", re.I)
# Limits are told with whose they are; that is not the tenants' business.
_ACCOUNT_IDS = re.compile(r"\b(?:org|wrkspc)_\w+|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.I)
# Anthropic quotes no key; what stands in for it at ANTHROPIC_BASE_URL may.
_KEYS = re.compile(r"sk-ant-[\w-]+")
_QUOTED = ("overloaded", "upstream_error", "upstream_timeout")
_SPEND_CAPS = frozenset({"enforced_spend_limit_reached", "contract_spend_limit_reached"})


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""
    details: dict[str, Any] | None = None


class _Envelope(msgspec.Struct):
    error: _Error


_decode = msgspec.json.Decoder(_Envelope).decode


def from_status(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """What an upstream answer other than 200 means for the client. Anything but Anthropic's JSON goes by its status."""
    try:
        error = _decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = _Error()
    type_ = error.type if error.type in _BY_TYPE else _TYPE_BY_STATUS.get(status, "api_error")
    return _translate(type_, error, {"retry-after": retry_after} if retry_after else {})


def from_event(type_: str, message: str) -> ApiError:
    """What an `error` event inside a stream means."""
    return _translate(type_ if type_ in _BY_TYPE else "api_error", _Error(type_, message), {})


def _translate(type_: str, error: _Error, headers: dict[str, str]) -> ApiError:
    kind, text = _BY_TYPE[type_]
    message = _KEYS.sub("…", error.message)
    if kind == "rejected_upstream":
        return _rejected(message)
    if kind == "model_not_found" and message and "model" not in message.lower():
        kind = "not_found"  # a container, an address: upstream's words say what
    if kind == "model_not_found":
        name = message.removeprefix("model: ")
        text = f"The model `{name}` does not exist or you do not have access to it."
        return ApiError(kind, text, "model", said=_ACCOUNT_IDS.sub("…", message))
    if kind == "rate_limited" and (error.details or {}).get("error_code") in _SPEND_CAPS:
        return ApiError("upstream_billing", _ACCOUNT, retry=False)
    said = _ACCOUNT_IDS.sub("…", message)
    text = text or said or "Upstream refused the request."
    if said not in text and kind in _QUOTED:
        text = f"{text} Upstream said: {said}"
    if kind == "rate_limited" and "retry-after" in headers:
        text = f"{text.rstrip('.')}. Please try again in {headers['retry-after']}s."
    # (what timed out is charged as the most it can have cost, each time)
    late = kind == "upstream_timeout" or _longer_than_sdks_wait(headers.get("retry-after", ""))
    return ApiError(
        kind,
        text,
        headers=headers,
        retry=False if late else None,
        said=said if kind in ("rate_limited", "too_large", "not_found") else "",
    )


def _longer_than_sdks_wait(retry_after: str) -> bool:
    """Above 60 s the JavaScript SDK no longer heeds `retry-after` and comes back too early (npm openai 7)."""
    try:
        return float(retry_after) > 60
    except ValueError:
        return False


def _rejected(message: str) -> ApiError:
    if _BILLING.search(message):
        return ApiError("upstream_billing", _ACCOUNT, retry=False)
    too_long = _TOO_LONG.search(message)
    if too_long:
        limit = f" This model's maximum context length is {too_long[2]} tokens." if too_long[2] else ""
        text = f"{message}{limit} Please reduce the length of the messages."
        return ApiError("context_length_exceeded", text, "messages", said=message)
    return ApiError("rejected_upstream", message or "Upstream rejected the request.")

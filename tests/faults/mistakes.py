"""Requests of clients that mean well and get it wrong: what they say is in odd places, or their key is."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any
from urllib.parse import quote

from tests.faults.nonsense import CHAT, Request

MODEL = "claude-sonnet-5-5"
ENDPOINTS = (CHAT, b"/v1/messages", b"/v1/responses", b"/v1/completions", b"/v1/messages/count_tokens")


def mistakes(key: str, text: str) -> list[Request]:
    """Each with the key; what is said is `text`."""
    bearer = (b"authorization", f"Bearer {key}".encode())
    bodies = {**_bodies(text), **_parts(text)}
    return [
        *(Request(kind, path=path, headers=[bearer], body=body) for path in ENDPOINTS for kind, body in bodies.items()),
        Request("no gzip", headers=[bearer, (b"content-encoding", b"gzip")], body=_good(text)),
        Request("half a gzip", headers=[bearer, (b"content-encoding", b"gzip")], body=gzip.compress(_good(text))[:-9]),
        Request("no br", headers=[bearer, (b"content-encoding", b"br")], body=_good(text)),
        *_misplaced(key, bearer, _good(text)),
    ]


def _bodies(text: str) -> dict[str, bytes]:
    good = _good(text)
    return {
        "cut": good[:-30],
        "more after it": good + good,
        "a form": f"model=x&messages={text}".encode(),
        "utf-16": good.decode().encode("utf-16"),
        "a text": json.dumps(text).encode(),
        "deep": b'{"messages":' + b"[" * 200 + json.dumps(text).encode() + b"]" * 200 + b"}",
        "no model": _json(messages=[{"role": "user", "content": text}]),
        "texts as messages": _json(model=MODEL, messages=text, input=7, prompt={"of": text}),
        "lone surrogate": good.replace(text.encode(), b"\\ud800" + text.encode()),
        "wrong number": good[:-1] + b',"temperature":1e999}',
    }


def _parts(text: str) -> dict[str, bytes]:
    """What may be in a turn, wrong."""
    contents: dict[str, Any] = {
        "an object": {"text": text},
        "no type": [{"text": text}],
        "unknown part": [{"type": "hologram", "text": text}],
        "no image": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text}!"}}],
        "no address": [{"type": "image_url", "image_url": {"url": text}}],
        "no file": [{"type": "file", "file": {"file_data": f"data:text/plain;base64,{text}!"}}],
    }
    turns: dict[str, Any] = {kind: [{"role": "user", "content": content}] for kind, content in contents.items()}
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": text}}
    turns["arguments that are no JSON"] = [{"role": "assistant", "tool_calls": [call]}]
    turns["a result of nothing"] = [{"role": "tool", "tool_call_id": "call_9", "content": text}]
    return {
        kind: _json(model=MODEL, max_tokens=9, messages=messages, input=messages) for kind, messages in turns.items()
    }


def _misplaced(key: str, bearer: tuple[bytes, bytes], good: bytes) -> list[Request]:
    """A key where none belongs."""
    told, basic = key.encode(), base64.b64encode(f"user:{key}".encode())
    return [
        Request("basic", headers=[(b"authorization", b"Basic " + basic)], body=good),
        Request("two", headers=[bearer, bearer], body=good),
        Request("mistyped", headers=[(b"authorization", b"Bearer " + told[:-1] + b"?")], body=good),
        *(
            Request("model", path=path, headers=[bearer], body=good.replace(MODEL.encode(), told))
            for path in (*ENDPOINTS, b"/v1/engines/" + told + b"/chat/completions")
        ),
        Request("query", path=CHAT + b"?api_key=" + quote(key).encode(), body=good),
        Request("cookie", headers=[bearer, (b"cookie", b"key=" + told)], body=good),
        Request("request id", headers=[bearer, (b"x-request-id", told)], body=good),
        Request(
            "parameter", headers=[bearer], body=good[:-1] + json.dumps({"api_key": key}).encode().replace(b"{", b",")
        ),
    ]


def _good(text: str) -> bytes:
    return _json(model=MODEL, max_tokens=16, messages=[{"role": "user", "content": text}], input=text, prompt=text)


def _json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()

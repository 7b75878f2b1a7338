"""Content parts → Messages blocks: text, images, files, and the shapes of other APIs that clients mix in.

Content that cannot be represented is a 400 with its place; a hint that cannot be honoured goes on the receipt. Nothing
a client names is ever fetched: image URLs go upstream as they are.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from bridge.dialects import checks
from bridge.errors import ApiError
from bridge.receipt import Receipt

Block = dict[str, Any]

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w=.+-]+)*?)(;base64)?,", re.I)
# What an image really is, by its first bytes: a wrong media type is a common mistake, and upstream's 400.
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)
IMAGE_TYPES = frozenset(kind for _, kind in _MAGIC)


def read(content: Any, path: str, role: str, receipt: Receipt) -> list[Block]:
    """The blocks of a message's content. Text of white space only is left out: the API refuses it."""
    if isinstance(content, str):
        return [text_block(content)] if content.strip() else []
    if not isinstance(content, list):
        raise checks.wrong_type(path, "one of a string or an array of objects", content)
    blocks = []
    for index, part in enumerate(content):
        block = _part(part, f"{path}[{index}]", role, receipt)
        if block["type"] != "text" or block["text"].strip():
            blocks.append(_marked(block, part))
    return blocks


def text_block(text: str) -> Block:
    return {"type": "text", "text": text}


def cache_control(source: dict[str, Any]) -> dict[str, Any] | None:
    """A cache breakpoint in Anthropic's spelling or OpenAI's (`prompt_cache_breakpoint`)."""
    given = source.get("cache_control")
    if isinstance(given, dict):
        ttl = given.get("ttl")
        return {"type": "ephemeral", "ttl": ttl} if ttl in ("5m", "1h") else {"type": "ephemeral"}
    given = source.get("prompt_cache_breakpoint")
    if isinstance(given, dict):
        return {"type": "ephemeral", "ttl": "1h"} if given.get("ttl") == "12h" else {"type": "ephemeral"}
    return None


def _marked(block: Block, source: dict[str, Any]) -> Block:
    mark = cache_control(source)
    return (
        {**block, "cache_control": mark} if mark and block["type"] not in ("thinking", "redacted_thinking") else block
    )


def _part(part: Any, path: str, role: str, receipt: Receipt) -> Block:
    part = checks.an_object(part, path)
    if "type" not in part:
        raise checks.missing(f"{path}.type")
    kind = checks.a_string(part["type"], f"{path}.type")
    reader = _READERS.get(kind)
    if reader is None:
        options = ", ".join(f"'{name}'" for name in _READERS)
        text = f"Invalid value: '{kind[:40]}'. Supported values are: {options}."
        raise ApiError("invalid_value", text, f"{path}.type")
    if kind not in _POSSIBLE[role]:
        raise ApiError("invalid_value", f"Invalid value: '{kind}' is not possible in a {role} message.", f"{path}.type")
    return reader(part, path, receipt)


def _text(part: dict[str, Any], path: str, receipt: Receipt) -> Block:
    name = "refusal" if part["type"] == "refusal" else "text"
    if part.get(name) is None:
        raise checks.missing(f"{path}.{name}")
    return text_block(checks.a_string(part[name], f"{path}.{name}"))


def _image(part: dict[str, Any], path: str, receipt: Receipt) -> Block:
    """`image_url` ({url, detail} or the URL itself) and Responses' `input_image`."""
    given = part.get("image_url")
    if given is None and part.get("file_id") is not None:
        return {"type": "image", "source": _uploaded(part["file_id"], f"{path}.file_id")}
    if given is None:
        raise checks.missing(f"{path}.image_url")
    if isinstance(given, dict):
        if given.get("url") is None:
            raise checks.missing(f"{path}.image_url.url")
        url = checks.a_string(given["url"], f"{path}.image_url.url")
        detail = given.get("detail", part.get("detail"))
    else:
        url, detail = checks.a_string(given, f"{path}.image_url"), part.get("detail")
    if detail not in (None, "auto"):
        receipt.add("image_url.detail", "ignored")
    return {"type": "image", "source": _image_source(url.strip(), f"{path}.image_url.url")}


def _image_source(url: str, path: str) -> dict[str, Any]:
    if url[:8].lower().startswith(("https://", "http://")):
        return {"type": "url", "url": url}
    media_type, data = _data_url(url, path)
    media_type = _sniffed(data) or ("image/jpeg" if media_type == "image/jpg" else media_type)
    if media_type not in IMAGE_TYPES:
        text = f"Invalid image: '{media_type[:60]}' is not supported. Supported are: {', '.join(sorted(IMAGE_TYPES))}."
        raise ApiError("invalid_image", text, path)
    return {"type": "base64", "media_type": media_type, "data": data}


def _file(part: dict[str, Any], path: str, receipt: Receipt) -> Block:
    """`file` ({file_data, filename} or {file_id}) and Responses' `input_file` (the same, flat)."""
    nested = part["type"] == "file"
    given = checks.an_object(part.get("file"), f"{path}.file") if nested else part
    path = f"{path}.file" if nested else path
    if given.get("file_id") is not None:
        return {"type": "document", "source": _uploaded(given["file_id"], f"{path}.file_id")}
    if given.get("file_url") is not None:
        return {"type": "document", "source": {"type": "url", "url": checks.a_string(given["file_url"], path)}}
    if given.get("file_data") is None:
        raise checks.missing(f"{path}.file_data")
    media_type, data = _data_url(checks.a_string(given["file_data"], f"{path}.file_data"), f"{path}.file_data")
    block: Block = {"type": "document", "source": _document_source(media_type, data, f"{path}.file_data")}
    if isinstance(given.get("filename"), str) and given["filename"].strip():
        block["title"] = given["filename"][:500]
    return block


def _document_source(media_type: str, data: str, path: str) -> dict[str, Any]:
    if media_type == "application/pdf":
        return {"type": "base64", "media_type": media_type, "data": data}
    if media_type.startswith("text/") or media_type in ("application/json", "application/xml"):
        try:
            text = base64.b64decode(data).decode()
        except (binascii.Error, ValueError):
            raise ApiError("invalid_value", "Invalid file: its text is not valid UTF-8.", path) from None
        return {"type": "text", "media_type": "text/plain", "data": text}
    supported = "application/pdf and text files"
    raise ApiError("invalid_value", f"Invalid file: '{media_type[:60]}' is not supported; {supported} are.", path)


def _uploaded(file_id: Any, path: str) -> dict[str, Any]:
    """A file uploaded to Anthropic; others are unknown there."""
    if not checks.a_string(file_id, path).startswith("file_"):
        text = "Files are read from Anthropic's Files API (ids file_…) or sent inside the request (file_data)."
        raise ApiError("unsupported_value", text, path)
    return {"type": "file", "file_id": file_id}


def _data_url(url: str, path: str) -> tuple[str, str]:
    """Media type and base64 of a data URL."""
    match = _DATA_URL.match(url[:300])
    if match is None or not match[3]:
        raise ApiError("invalid_image", "Invalid URL: expected https://… or data:TYPE;base64,….", path)
    data = url[match.end() :]
    if any(space in data for space in (" ", "\n", "\r", "\t")):
        data = "".join(data.split())
    if not data:
        raise ApiError("invalid_image", "Invalid data URL: it is empty.", path)
    return (match[1] or "").lower(), data


def _sniffed(data: str) -> str:
    try:
        head = base64.b64decode(data[:32] + "=" * (-len(data[:32]) % 4))
    except (binascii.Error, ValueError):
        return ""
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")


def _a_field(part: dict[str, Any], name: str, path: str) -> str:
    if part.get(name) is None:
        raise checks.missing(f"{path}.{name}")
    return checks.a_string(part[name], f"{path}.{name}")


def _sourced(part: dict[str, Any], path: str, receipt: Receipt) -> Block:
    """`image` and `document` in Anthropic's shape already (some clients send those for Claude's names)."""
    if part.get("source") is None:
        raise checks.missing(f"{path}.source")
    kind = checks.an_object(part["source"], f"{path}.source").get("type")
    if kind not in _SOURCES:
        options = ", ".join(f"'{name}'" for name in _SOURCES)
        text = f"Invalid value: '{str(kind)[:40]}'. Supported values are: {options}."
        raise ApiError("invalid_value", text, f"{path}.source.type")
    return {name: value for name, value in part.items() if name not in ("cache_control", "prompt_cache_breakpoint")}


def _tool_use(part: dict[str, Any], path: str, receipt: Receipt) -> Block:
    fields = {name: _a_field(part, name, path) for name in ("id", "name")}
    if "input" not in part:
        raise checks.missing(f"{path}.input")
    return {"type": "tool_use", **fields, "input": part["input"]}


def _tool_result(part: dict[str, Any], path: str, receipt: Receipt) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": _a_field(part, "tool_use_id", path)}
    given = part.get("content")
    told = read(given, f"{path}.content", "tool", receipt) if given is not None else []
    return {
        **block,
        **({"content": told} if told else {}),
        **({"is_error": True} if part.get("is_error") is True else {}),
    }


def _search_result(part: dict[str, Any], path: str, receipt: Receipt) -> Block:
    fields = {name: _a_field(part, name, path) for name in ("source", "title")}
    return {
        "type": "search_result",
        **fields,
        "content": read(part.get("content"), f"{path}.content", "system", receipt),
    }


def signed(block: Any) -> Block | None:
    """Thinking that may be sent back: as it came, without what others have added. None if it is not sound."""
    if not isinstance(block, dict):
        return None
    for kind, seal, *more in (("thinking", "signature", "thinking"), ("redacted_thinking", "data")):
        fields = {name: block.get(name, "") for name in (*more, seal)}
        if block.get("type") == kind and block.get(seal) and all(isinstance(value, str) for value in fields.values()):
            return {"type": kind, **fields}
    return None


def _thinking(part: dict[str, Any], path: str, receipt: Receipt) -> Block:
    block = signed(part)
    if block is None:
        raise checks.missing(f"{path}.{'signature' if part['type'] == 'thinking' else 'data'}")
    return block


def _audio(part: dict[str, Any], path: str, receipt: Receipt) -> Block:
    raise ApiError("unsupported_value", "Unsupported value: Claude does not hear; audio cannot be sent.", path)


_READERS: dict[str, Callable[[dict[str, Any], str, Receipt], Block]] = {
    "text": _text,
    "input_text": _text,
    "output_text": _text,
    "refusal": _text,
    "image_url": _image,
    "input_image": _image,
    "file": _file,
    "input_file": _file,
    "input_audio": _audio,
    "image": _sourced,
    "document": _sourced,
    "thinking": _thinking,
    "redacted_thinking": _thinking,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "search_result": _search_result,
}
_SOURCES = ("base64", "url", "file", "text", "content")
# Which kinds a message of each role may hold; `input_audio` is refused with its own words.
_TEXTS = frozenset({"text", "input_text", "output_text", "refusal", "input_audio"})
_SHOWN = _TEXTS | {"image_url", "input_image", "file", "input_file", "image", "document", "search_result"}
_POSSIBLE = {
    "system": _TEXTS,
    "user": _SHOWN | {"tool_result"},
    "assistant": _TEXTS | {"thinking", "redacted_thinking", "tool_use"},
    "tool": _SHOWN,
}

"""Items of a response as they come about: each block of an answer tells the events that make its item.

Order and shape of the events follow recorded traffic of OpenAI's API (openai.md 3.3); `sequence_number` is added where
they are framed. An item that ends tells all of itself, so that the whole response is made of the same items.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

import msgspec

from bridge.dialects import chat_answer, sealing
from bridge.dialects.responses import ResponseShape
from bridge.wire.anthropic import Delta

Json = dict[str, Any]
Told = list[Json]

_encode = msgspec.json.Encoder().encode


class Output(Protocol):
    """An item at its place in the output. `item` is what it has come to; it is whole after `end`."""

    item: Json

    def begin(self) -> Told: ...
    def delta(self, delta: Delta) -> Told: ...
    def end(self, status: str) -> Told: ...


class _Placed:
    """Where an item stands, which each of its events repeats."""

    def __init__(self, place: int, item: Json) -> None:
        self._place = place
        self.item = item

    def _event(self, kind: str, **fields: Any) -> Json:
        return {"type": f"response.{kind}", "item_id": self.item["id"], "output_index": self._place, **fields}

    def _added(self) -> Json:
        return {"type": "response.output_item.added", "output_index": self._place, "item": dict(self.item)}

    def _done(self) -> Json:
        return {"type": "response.output_item.done", "output_index": self._place, "item": self.item}


class Reasoning(_Placed):
    """A block of thinking: its text as a summary, all of it sealed for the way back."""

    def __init__(self, place: int, identifier: str, block: Json, shape: ResponseShape) -> None:
        super().__init__(place, {"id": f"rs_{identifier}", "type": "reasoning", "summary": []})
        self._block = dict(block)
        self._first = block.get("thinking") or ""
        self._block["thinking"] = ""
        self._seal = shape.seal

    def begin(self) -> Told:
        return [self._added(), *self._think(self._first)]

    def delta(self, delta: Delta) -> Told:
        if delta.type == "signature_delta":
            self._block["signature"] = delta.signature
        return self._think(delta.thinking or "") if delta.type == "thinking_delta" else []

    def end(self, status: str) -> Told:
        text = self._block["thinking"]
        signed = chat_answer.thinking_blocks([self._signed()])
        self.item["encrypted_content"] = sealing.pack(signed, self._seal)
        if not text:
            return [self._done()]
        part = {"type": "summary_text", "text": text}
        self.item["summary"] = [part]
        return [
            self._event("reasoning_summary_text.done", summary_index=0, text=text),
            self._event("reasoning_summary_part.done", summary_index=0, part=part),
            self._done(),
        ]

    def _signed(self) -> Json:
        if self._block.get("type") == "thinking":
            return self._block
        return {name: value for name, value in self._block.items() if name != "thinking"}

    def _think(self, text: str) -> Told:
        if not text or self._block.get("type") != "thinking":
            return []
        told = []
        if not self._block["thinking"]:
            part = {"type": "summary_text", "text": ""}
            told.append(self._event("reasoning_summary_part.added", summary_index=0, part=part))
        self._block["thinking"] += text
        return [*told, self._event("reasoning_summary_text.delta", summary_index=0, delta=text)]


class Message(_Placed):
    """What is said between two other items, in however many blocks; sources are told as their block ends."""

    def __init__(self, place: int, identifier: str) -> None:
        said = {"id": f"msg_{identifier}", "type": "message", "status": "in_progress", "role": "assistant"}
        super().__init__(place, {**said, "content": []})
        self._texts: list[str] = []
        self._length = self._block_start = 0
        self._annotations: list[Json] = []
        self._citations: list[Json] = []

    def begin(self) -> Told:
        return [self._added()]

    def begin_block(self, block: Json) -> Told:
        self._block_start = self._length
        self._citations = list(block.get("citations") or [])
        return self._say(block.get("text") or "")

    def delta(self, delta: Delta) -> Told:
        if delta.type == "citations_delta" and delta.citation:
            self._citations.append(delta.citation)
        return self._say(delta.text or "") if delta.type == "text_delta" else []

    def end_block(self) -> Told:
        told = []
        for citation in self._citations:
            note = chat_answer.annotation(citation, self._block_start, self._length)
            if note and self._texts:
                made = {"type": "url_citation", **note["url_citation"]}
                fields = {"content_index": 0, "annotation_index": len(self._annotations), "annotation": made}
                told.append(self._event("output_text.annotation.added", **fields))
                self._annotations.append(made)
        self._citations = []
        return told

    def end(self, status: str, refusal: str | None = None) -> Told:
        if not self._texts and refusal is None:  # an answer of nothing is still an answer
            return [*self._open(), *self.end(status)]
        told = [*self.end_block(), *(self._close() if self._texts else [])]
        if refusal is not None:
            told += self._refuse(refusal)
        self.item["status"] = status
        return [*told, self._done()]

    def _say(self, text: str) -> Told:
        if not text:
            return []
        opened = [] if self._texts else self._open()
        self._texts.append(text)
        self._length += len(text)
        return [*opened, self._event("output_text.delta", content_index=0, delta=text, logprobs=[])]

    def _open(self) -> Told:
        self._texts = [""]
        return [self._event("content_part.added", content_index=0, part=_text_part("", []))]

    def _close(self) -> Told:
        text = "".join(self._texts)
        part = _text_part(text, self._annotations)
        self.item["content"] = [part]
        return [
            self._event("output_text.done", content_index=0, text=text, logprobs=[]),
            self._event("content_part.done", content_index=0, part=part),
        ]

    def _refuse(self, text: str) -> Told:
        place = len(self.item["content"])
        part = {"type": "refusal", "refusal": text}
        self.item["content"] = [*self.item["content"], part]
        return [
            self._event("content_part.added", content_index=place, part={"type": "refusal", "refusal": ""}),
            self._event("refusal.delta", content_index=place, delta=text),
            self._event("refusal.done", content_index=place, refusal=text),
            self._event("content_part.done", content_index=place, part=part),
        ]


def _text_part(text: str, annotations: list[Json]) -> Json:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}


class Call(_Placed):
    """A function's call. Its arguments are told as they come; one that was cut off keeps what there is of them."""

    def __init__(self, place: int, identifier: str, block: Json, shape: ResponseShape) -> None:
        named = shape.places.told(shape.names.original(str(block.get("name") or "")))
        called = {"id": f"fc_{identifier}", "type": "function_call", "status": "in_progress"}
        super().__init__(place, {**called, "call_id": block.get("id") or identifier, **named, "arguments": ""})
        self._given = block.get("input") or None
        self._pieces: list[str] = []

    def begin(self) -> Told:
        return [self._added()]

    def delta(self, delta: Delta) -> Told:
        text = delta.partial_json if delta.type == "input_json_delta" else None
        if not text:
            return []
        self._pieces.append(text)
        return [self._event("function_call_arguments.delta", delta=text)]

    def end(self, status: str) -> Told:
        told = []
        if not self._pieces:
            told = self.delta(Delta("input_json_delta", partial_json=_encode(self._given or {}).decode()))
        arguments = "".join(self._pieces)
        self.item |= {"arguments": arguments, "status": "completed" if _is_json(arguments) else "incomplete"}
        return [
            *told,
            self._event("function_call_arguments.done", name=self.item["name"], arguments=arguments),
            self._done(),
        ]


# The beginning of a free-text tool's arguments, up to the text itself; and as much of the text as is whole: an escape
# may be split, and so may a pair of them that stands for one character.
_INPUT = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_HEX = "[0-9a-fA-F]"
_PAIR = rf"\\u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}"
_TEXT = re.compile(rf'(?:[^"\\]|\\[^u]|\\u(?![dD][89abAB]){_HEX}{{4}}|{_PAIR})*')


class FreeCall(_Placed):
    """A free-text tool's call: upstream it is a function with one text, which is told as it comes."""

    def __init__(self, place: int, identifier: str, block: Json, shape: ResponseShape) -> None:
        named = shape.places.told(shape.names.original(str(block.get("name") or "")))
        called = {"id": f"ctc_{identifier}", "type": "custom_tool_call", "status": "in_progress"}
        super().__init__(place, {**called, "call_id": block.get("id") or identifier, **named, "input": ""})
        self._given = block.get("input") or None
        self._json = ""
        self._read = 0  # how much of the arguments has been told
        self._told = ""

    def begin(self) -> Told:
        return [self._added()]

    def delta(self, delta: Delta) -> Told:
        if delta.type != "input_json_delta" or not delta.partial_json:
            return []
        self._json += delta.partial_json
        return self._tell(self._new())

    def end(self, status: str) -> Told:
        arguments = self._json or _encode(self._given or {}).decode()
        text = chat_answer.free_text(arguments)
        if not _is_json(arguments):  # cut off: what was understood of it
            text = self._told if _INPUT.match(arguments) else arguments
        rest = self._tell(text.removeprefix(self._told)) if text.startswith(self._told) else []
        self.item |= {"input": text, "status": "completed" if _is_json(arguments) else "incomplete"}
        return [*rest, self._event("custom_tool_call_input.done", input=text), self._done()]

    def _new(self) -> str:
        """The part of the text that has come since, unescaped."""
        if not self._read:
            begun = _INPUT.match(self._json)
            if begun is None:
                return ""
            self._read = begun.end()
        match = _TEXT.match(self._json, self._read)
        ready = match[0] if match else ""
        try:
            text: str = msgspec.json.decode(f'"{ready}"')
        except msgspec.DecodeError:
            return ""
        self._read += len(ready)
        return text

    def _tell(self, text: str) -> Told:
        self._told += text
        return [self._event("custom_tool_call_input.delta", delta=text)] if text else []


class Search(_Placed):
    """A web search that upstream makes itself: what it looks for, and where, if the client asked for that."""

    def __init__(self, place: int, identifier: str, block: Json, shape: ResponseShape) -> None:
        action: Json = {"type": "search", "query": "", "queries": []}
        searched = {"id": f"ws_{identifier}", "type": "web_search_call", "status": "in_progress", "action": action}
        super().__init__(place, searched)
        self.tool_use_id = block.get("id")
        self._sources = shape.sources
        self._given = block.get("input") or None
        self._json = ""

    def begin(self) -> Told:
        return [self._added(), self._event("web_search_call.in_progress"), self._event("web_search_call.searching")]

    def delta(self, delta: Delta) -> Told:
        self._json += (delta.partial_json or "") if delta.type == "input_json_delta" else ""
        return []

    def found(self, results: Any) -> None:
        """What the search came to: pages, or an error."""
        if not isinstance(results, list):
            self.item["status"] = "failed"
        elif self._sources:
            urls = [page["url"] for page in results if isinstance(page, dict) and isinstance(page.get("url"), str)]
            self.item["action"]["sources"] = [{"type": "url", "url": url} for url in urls]

    def end(self, status: str) -> Told:
        query = _value(self._json, self._given).get("query")
        if isinstance(query, str):
            self.item["action"] |= {"query": query, "queries": [query]}
        if self.item["status"] == "in_progress":
            self.item["status"] = "completed"
        return [self._event("web_search_call.completed"), self._done()]


def _value(text: str, given: Any) -> Json:
    try:
        value = msgspec.json.decode(text) if text else given
    except (msgspec.DecodeError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True

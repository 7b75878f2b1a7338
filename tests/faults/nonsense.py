"""Malformed requests, made from a seed: bodies, headers and paths that some client or attacker may send one day."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bridge.dialects.params import PARAMS

CHAT = b"/v1/chat/completions"
NATIVE = (b"/v1/messages", b"/v1/messages/count_tokens")
ROLES = ("system", "developer", "user", "assistant", "tool", "function", "User", "", "root", "\u0000")
PARTS = ("text", "image_url", "input_text", "output_text", "refusal", "input_audio", "file", "thinking", "", "\ud800")
BROKEN_NUMBERS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "01",
    "1.",
    ".5",
    "+1",
    "0x10",
    "1_000",
    "9" * 5000,
)
NUMBERS = (
    "0",
    "-0",
    "-1",
    "1.5",
    "1e308",
    "-1e308",
    "9" * 18,
    "9" * 19,
    "9" * 30,
    "-" + "9" * 400,
    "1e-400",
    "2147483648",
)
TEXTS = (
    "",
    " ",
    "\u0000",
    "a\u0000b",
    "\ufeff",
    "\u202e",
    "\U0001f600",
    "é" * 300,
    "x" * 20_000,
    "\r\nx-injected: 1",
    "null",
    "1",
)
NAMES = (
    *PARAMS,
    "stream_options",
    "x",
    "",
    "\u0000",
    "__proto__",
    "é",
    "a\r\nb: c",
    "model ",
    "n" * 3000,
    "messages.0",
    "$",
    "[fault:hang]",
)


@dataclass(slots=True)
class Request:
    """One request: `kind` says what is wrong with it, in a word."""

    kind: str
    method: str = "POST"
    path: bytes = CHAT
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    def wire(self) -> bytes:
        lines = [self.method.encode() + b" " + self.path + b" HTTP/1.1", b"host: localhost", b"connection: close"]
        lines += [name + b": " + value for name, value in self.headers]
        return b"\r\n".join(lines) + b"\r\ncontent-length: %d\r\n\r\n" % len(self.body) + self.body


class Nonsense:
    """An endless supply of them, the same for the same seed."""

    def __init__(self, seed: int, key: str) -> None:
        self.chance = random.Random(seed)
        self._key = key.encode()
        self._makers: tuple[Callable[[], Request], ...] = (
            *(self.wrong_parameter,) * 6,
            *(self.wrong_messages,) * 4,
            *(self.broken_json,) * 4,
            self.strange_encoding,
            self.deep,
            self.any_bytes,
            self.strange_credentials,
            self.strange_headers,
            *(self.strange_path,) * 2,
        )

    def next(self) -> Request:
        return self.chance.choice(self._makers)()

    # --- Bodies -----------------------------------------------------------------------------------------------------

    def wrong_parameter(self) -> Request:
        """Anything at all in the place of one or a few parameters."""
        names = self.chance.sample(NAMES, self.chance.randint(1, 3))
        fields = {**_plain(), **dict.fromkeys(names, "")}
        pairs = [(name, self.anything() if name in names else json.dumps(value)) for name, value in fields.items()]
        if self.chance.random() < 0.1:
            pairs.append((self.chance.choice(pairs)[0], self.anything()))  # the same key twice
        return self._post("parameter", _object(pairs))

    def wrong_messages(self) -> Request:
        count = self.chance.choice((0, 1, 1, 2, 3, 200))
        messages = "[" + ",".join(self.message() for _ in range(count)) + "]"
        return self._post("messages", _object([("model", '"claude-sonnet-5-5"'), ("messages", messages)]))

    def message(self) -> str:
        keys = self.chance.sample(("role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio", "x"), 3)
        pairs = [(key, self.anything()) for key in keys]
        if self.chance.random() < 0.7:
            pairs.append(("role", json.dumps(self.chance.choice(ROLES))))
        if self.chance.random() < 0.7:
            pairs.append(("content", self.chance.choice((self.anything, self.parts))()))
        return _object(pairs)

    def parts(self) -> str:
        return "[" + ",".join(self.part() for _ in range(self.chance.randint(0, 3))) + "]"

    def part(self) -> str:
        kind = self.chance.choice(PARTS)
        pairs = [("type", json.dumps(kind)), (kind, self.anything()), ("text", self.anything())]
        return _object(self.chance.sample(pairs, self.chance.randint(1, 3)))

    def broken_json(self) -> Request:
        """A good body after an accident."""
        body = bytearray(_good())
        for _ in range(self.chance.randint(1, 4)):
            at = self.chance.randrange(len(body) or 1)
            match self.chance.randrange(6):
                case 0:
                    del body[max(at, 1) :]
                case 1:
                    body[at : at + 1] = bytes((self.chance.randrange(256),))
                case 2:
                    body[at:at] = self.chance.choice((b"\x00", b"\xff", b"\xc3", b'"', b"}", b"]", b",", b"//", b"'"))
                case 3:
                    body += self.chance.choice((b"}", b"{}", b"\x00", b" x", b"\n\n", _good()))
                case 4:
                    del body[at : at + self.chance.randint(1, 9)]
                case _:
                    body[at:at] = self.chance.choice(BROKEN_NUMBERS).encode()
        return self._post("broken", bytes(body))

    def strange_encoding(self) -> Request:
        good = _good(self.chance.choice(TEXTS)).decode()
        codec = self.chance.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7", "cp037", "latin-1"))
        return self._post(codec, good.encode(codec, "replace"))

    def deep(self) -> Request:
        depth = self.chance.choice((63, 64, 65, 100, 1000, 5000, 100_000))
        left, right = self.chance.choice((("[", "]"), ('{"a":', "}"), ('[{"content":', "}]")))
        inside = left * depth + "1" + (right * depth if self.chance.random() < 0.7 else "")
        place = self.chance.choice(("messages", "metadata", "user", "stop", "x", "tools"))
        whole = inside if self.chance.random() < 0.3 else _object([*_texts(_plain()), (place, inside)])
        return self._post("deep", whole)

    def any_bytes(self) -> Request:
        return self._post("bytes", self.chance.randbytes(self.chance.choice((0, 1, 2, 50, 3000))))

    def anything(self, depth: int = 0) -> str:
        """Some JSON, or nearly."""
        match self.chance.randrange(9 if depth < 3 else 6):
            case 0:
                return self.chance.choice(NUMBERS)
            case 1:
                return json.dumps(self.chance.choice(TEXTS))
            case 2:
                return self.chance.choice(("null", "true", "false", "[]", "{}", '"\\ud800"', '"\\udc00\\ud800"'))
            case 3 if self.chance.random() < 0.2:
                return self.chance.choice((*BROKEN_NUMBERS, "undefined", "'x'", "", "tru", '"\t"', '"\\x41"', '"'))
            case 3 | 4 | 5:
                return self.chance.choice(("1", '"x"', "0.5", "[1]", '["x"]', "[null]", '{"type":"text"}', "[[]]"))
            case 6:
                return _object([(self.chance.choice(NAMES), self.anything(depth + 1)) for _ in range(2)])
            case _:
                return "[" + ",".join(self.anything(depth + 1) for _ in range(self.chance.randint(1, 3))) + "]"

    def _post(self, kind: str, body: str | bytes) -> Request:
        content = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
        path = CHAT if self.chance.random() < 0.8 else self.chance.choice(NATIVE)
        return Request(kind, path=path, headers=[self._authorization()], body=content)

    # --- Headers ----------------------------------------------------------------------------------------------------

    def _authorization(self) -> tuple[bytes, bytes]:
        return b"authorization", b"Bearer " + self._key

    def strange_credentials(self) -> Request:
        key, chance = self._key, self.chance
        at = chance.randrange(len(key))
        values = (
            b"",
            b"Bearer",
            b"Bearer  " + key[:-1],
            b"Bearer " + key[:at] + b"?" + key[at + 1 :],
            b"Bearer " + key.swapcase(),
            b"Bearer " + key + key,
            b"Bearer " + key + b"\xff",
            b"Basic " + key,
            b"Bearer sk-" + bytes(chance.choices(range(33, 127), k=48)),
            b"Bearer " + b"A" * chance.choice((1, 300, 30_000)),
            b"Bearer sk-bridge_live_" + b"0" * 46,
            bytes(chance.choices(range(128, 256), k=20)),
            b"Bearer ' OR 1=1 --",
            b"Bearer ${jndi:ldap://x}",
        )
        names = (b"authorization", b"x-api-key", b"api-key", b"Authorization")
        count = chance.choice((0, 1, 1, 2, 3))
        headers = [(chance.choice(names), chance.choice(values)) for _ in range(count)]
        return Request("credentials", headers=headers, body=_good())

    def strange_headers(self) -> Request:
        chance = self.chance
        values = (
            b"",
            b"x",
            b"-1",
            b"1e9",
            b"\xe9\xff",
            b"9" * 400,
            b"gzip",
            b"utf-16",
            b"*/*;q=nan",
            b"a" * 9000,
            b"'\"<>",
        )
        some = (b"content-type", b"content-encoding", b"accept", b"accept-encoding", b"x-stainless-retry-count")
        more = (b"x-forwarded-for", b"forwarded", b"x-forwarded-proto", b"user-agent", b"origin", b"range", b"if-match")
        last = (
            b"openai-organization",
            b"x-request-id",
            b"traceparent",
            b"cookie",
            b"x_underscored",
            b"accept-language",
        )
        names = chance.sample((*some, *more, *last), 4)
        headers = [self._authorization(), *((name, chance.choice(values)) for name in names)]
        types = (
            b"application/json; charset=utf-16",
            b"multipart/form-data",
            b"text/plain",
            b"application/x-www-form-urlencoded",
        )
        headers.append((b"content-type", chance.choice(types)))
        if chance.random() < 0.2:
            headers += [(b"x-many-%d" % n, b"1") for n in range(chance.choice((50, 99, 200)))]
        return Request(
            "headers", headers=headers, body=chance.choice((_good(), b"a=b", b"--x\r\n\r\n--x--", b"\x1f\x8b\x08"))
        )

    # --- Methods and paths ------------------------------------------------------------------------------------------

    def strange_path(self) -> Request:
        chance = self.chance
        paths = (
            CHAT
            + chance.choice(
                (b"/", b"//", b"/x", b"%00", b";a=b", b"?x=%ff&", b"#", b"%2f", b".json", b"?" + b"q" * 5000)
            ),
            b"/v1/../v1/chat/completions",
            b"/v1/%2e%2e/admin/",
            b"/v1/..%2f..%2fetc%2fpasswd",
            b"/%2e%2e/%2e%2e/etc/passwd",
            b"/\xe9\xff/chat",
            b"/v1/%c0%ae%c0%ae/",
            b"/v1/%",
            b"/v1/%zz",
            b"/v1/" + b"a/" * chance.choice((1, 100, 3000)),
            b"/v1/models/"
            + chance.choice((b"%00", b"..", b"%ff", b"x" * 3000, b"%F0%9F%98%80", b"a/b/c", b"'--", b"%0d%0aX:1")),
            b"/v1/models?limit="
            + chance.choice((b"0", b"-1", b"1e9", b"9" * 400, b"%00", b"%D9%A3", b"1&limit=2", b"")),
            b"/v1/models?after=" + chance.choice((b"%00", b"nothing", b"x" * 3000, b"%ff")),
            b"/v1/engines/" + chance.choice((b"", b"%00", b"..", b"x" * 2000, b"%0a")) + b"/chat/completions",
            b"/openai/deployments/" + chance.choice((b"a/b", b"%2f", b"%F0%9F%98%80", b"x")) + b"/chat/completions",
            b"/v1/embeddings",
            b"/v1/" + bytes(chance.choices(range(33, 127), k=12)).replace(b"#", b"").replace(b"?", b""),
            b"/chat/completions/../../metrics",
            b"/key",
            b"/readyz/x",
            b"//v1//chat//completions//",
        )
        methods = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "PROPFIND", "post", "GETT")
        body = chance.choice((b"", _good(), b"{}", b"null", b'{"model":7}'))
        return Request("path", chance.choice(methods), chance.choice(paths), [self._authorization()], body)


def _plain() -> dict[str, Any]:
    return {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 16}


def _good(text: str = "hi") -> bytes:
    return json.dumps({**_plain(), "user": text}, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _texts(fields: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, json.dumps(value)) for name, value in fields.items()]


def _object(pairs: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in pairs) + "}"

"""Bytes that are no HTTP, or HTTP that two parsers could read differently: each must be refused before any handler."""

from __future__ import annotations

import random

BODY = b'{"model":"claude-sonnet-5-5","messages":[{"role":"user","content":"smuggled"}]}'
CHUNKED = b"transfer-encoding: chunked"
LENGTHS = (b"-1", b"+5", b"0x5", b"5 5", b"5, 6", b"", b"five", b"1e3", b"9" * 25, b"\xd9\xa3", b"5;", b"5\x0b")
CODINGS = (
    b"xchunked",
    b"chunked, identity",
    b"chunked\x0b",
    b"gzip",
    b"chunked, chunked",
    b",chunked;",
    b"\x00chunked",
)
SIZES = (b"zz", b"-1", b"+4", b"0x4", b" 4", b"4 4", b"F" * 17, b"4;\x00", b"", b"\xff", b"4\x0b", b"1e1")
NAMES = (b"x y", b"", b"x\x00", b"x\xff", b"x(", b"x\t")
TARGETS = (b"", b"chat", b"/a b", b"/\x00", b"/\x7f", b"http://[::", b"/a\tb", b"\\\\x", b"*")
VERSIONS = (
    b"HTTP/9.9",
    b"HTTP/1",
    b"HTTP/1.1x",
    b"HTTP/1.10",
    b"http/1.1",
    b"HTTP/ 1.1",
    b"XTTP/1.1",
    b"HTTP/-1.1",
    b"",
)
STRANGERS = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),  # TLS
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"EHLO localhost\r\nMAIL FROM:<a@b>\r\n\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"\r\n" * 50 + b"x\r\n\r\n",
    b"\x00" * 2000,
)


def make(chance: random.Random, key: str) -> tuple[str, bytes]:
    """What is wrong with it, and the bytes."""
    maker = chance.choice(MAKERS)
    head, rest = maker(chance)
    return maker.__name__, head.replace(b"KEY", key.encode()) + rest


def _post(*headers: bytes, end: bytes = b"\r\n") -> bytes:
    lines = (b"POST /v1/chat/completions HTTP/1.1", b"host: localhost", b"authorization: Bearer KEY", *headers)
    return end.join(lines) + end + end


def two_lengths(chance: random.Random) -> tuple[bytes, bytes]:
    length, inner = b"content-length: %d" % len(BODY), b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"
    kinds = ((length, CHUNKED), (CHUNKED, length), (length, b"content-length: 5"), (CHUNKED, b"content-length: 0"))
    return _post(*chance.choice(kinds)), chance.choice((BODY, inner))


def bad_length(chance: random.Random) -> tuple[bytes, bytes]:
    return _post(b"content-length: " + chance.choice(LENGTHS)), BODY


def coding(chance: random.Random) -> tuple[bytes, bytes]:
    return _post(b"transfer-encoding: " + chance.choice(CODINGS)), b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"


def chunk(chance: random.Random) -> tuple[bytes, bytes]:
    good = b"%x\r\n" % len(BODY) + BODY
    bad = chance.choice(SIZES) + b"\r\n" + BODY + b"\r\n0\r\n\r\n"
    return _post(CHUNKED), chance.choice((bad, good + b"x0\r\n\r\n", good + b"\r\n" + bad))


def name(chance: random.Random) -> tuple[bytes, bytes]:
    strange = chance.choice((chance.choice(NAMES) + b": 1", b"no colon at all", b"x: a\x00b", b"x: a\rb"))
    return _post(strange, b"content-length: %d" % len(BODY)), BODY


def folded(chance: random.Random) -> tuple[bytes, bytes]:
    fold = chance.choice((b"x: a\r\n b", b"x: a\r\n\tb", b" x: 1"))  # the last one continues the line before
    return _post(fold, b"content-length: %d" % len(BODY)), BODY


def bare_lf(chance: random.Random) -> tuple[bytes, bytes]:
    """RFC 9112 lets a server take it for a line end; one that does disagrees with proxies that do not."""
    length = b"content-length: %d" % len(BODY)
    return chance.choice((_post(length, end=b"\n"), _post(b"x: a\ny: b", length), _post(b"x: a\n" + length))), BODY


def upgrade(chance: random.Random) -> tuple[bytes, bytes]:
    key = chance.choice((b"dGhlIHNhbXBsZSBub25jZQ==", b"short", b""))
    lines = (
        b"GET " + chance.choice((b"/v1/models", b"/v1/chat/completions", b"/v1/realtime")) + b" HTTP/1.1",
        b"host: localhost",
        b"connection: upgrade",
        b"upgrade: websocket",
        b"sec-websocket-version: " + chance.choice((b"13", b"8")),
        b"sec-websocket-key: " + key,
    )
    return b"\r\n".join(lines) + b"\r\n\r\n", b""


def target(chance: random.Random) -> tuple[bytes, bytes]:
    return b"POST " + chance.choice(TARGETS) + b" HTTP/1.1\r\nhost: localhost\r\n\r\n", b""


def version(chance: random.Random) -> tuple[bytes, bytes]:
    return b"POST /v1/chat/completions " + chance.choice(VERSIONS) + b"\r\nhost: localhost\r\n\r\n", b""


def method(chance: random.Random) -> tuple[bytes, bytes]:
    strange = chance.choice((b"P(ST", b"", b"PO ST", b"\x00", b"P" * 40, b"POST\t", b"\xff"))
    return strange + b" /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n\r\n", b""


def large(chance: random.Random) -> tuple[bytes, bytes]:
    headers = [b"x-%d: 1" % n for n in range(2000)]
    kinds = (
        _post(b"x: " + b"a" * 100_000),
        _post(b"x" * 100_000 + b": a"),
        _post(*headers),
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
    )
    return chance.choice(kinds), b""


def stranger(chance: random.Random) -> tuple[bytes, bytes]:
    return b"", chance.choice((*STRANGERS, chance.randbytes(chance.choice((1, 20, 3000)))))


MAKERS = (
    two_lengths,
    bad_length,
    coding,
    chunk,
    name,
    folded,
    bare_lf,
    target,
    version,
    method,
    large,
    upgrade,
    stranger,
)

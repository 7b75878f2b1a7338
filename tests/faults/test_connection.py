"""One connection, more than one request: what the HTTP server under the application has to get right."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.live import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(env={"UPSTREAM": "sandbox"}, workers=1) as server:
        yield server


def connect(server: Server) -> socket.socket:
    place = urlsplit(server.url)
    return socket.create_connection((place.hostname or "", place.port or 0), timeout=20)


def request(server: Server, text: str) -> bytes:
    body = json.dumps({"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": text}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.test_key}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def answer(connection: socket.socket, got: bytearray) -> bytes:
    """One answer off the connection."""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536) or pytest.fail(f"the connection ended: {bytes(got)!r}")
    head, _, _ = bytes(got).partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    end = len(head) + 4 + length
    while len(got) < end:
        got += connection.recv(65536) or pytest.fail("the connection ended in mid-answer")
    whole = bytes(got[:end])
    del got[:end]
    return whole


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one go"])
@pytest.mark.parametrize("size", [10, 70_000, 900_000])
def test_a_next_request_that_comes_early_is_served_whatever_its_size(server: Server, size: int, together: bool) -> None:
    requests = [request(server, text) for text in ("[sandbox:slow first=0.3] one", "two " + "x" * size, "three")]
    with connect(server) as connection:
        for part in [b"".join(requests)] if together else requests:
            connection.sendall(part)
        got = bytearray()
        for said in (b"one", b"two", b"three"):
            whole = answer(connection, got)
            assert whole.startswith(b"HTTP/1.1 200") and said in whole


def test_malformed_http_is_a_json_error(server: Server) -> None:
    for wrong in (
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n",
    ):
        with connect(server) as connection:
            connection.sendall(wrong)
            whole = answer(connection, bytearray())
        assert b" 4" in whole.split(b"\r\n")[0] and b"application/json" in whole
        assert set(json.loads(whole.partition(b"\r\n\r\n")[2])["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(("key", "length", "status"), [("unknown", 20, b"401"), ("", 33, b"413")])
def test_a_refusal_is_heard_by_a_client_that_is_still_sending(
    server: Server, key: str, length: int, status: bytes
) -> None:
    size = length * 1024 * 1024
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key or server.test_key}\r\n"
    with connect(server) as connection:
        connection.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
        for _ in range(length):
            connection.sendall(b"x" * 1024 * 1024)
        whole = answer(connection, bytearray())
    assert whole.split()[1] == status and b'"error"' in whole


def test_a_client_that_never_stops_sending_is_cut_off(server: Server) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"
    with connect(server) as connection, pytest.raises(OSError):
        connection.sendall(head)
        for _ in range(200):
            connection.sendall(b"x" * 1024 * 1024)

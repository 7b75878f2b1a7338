"""The HTTP/1.1 client, against servers of raw bytes: kept connections, all the ways to break, nothing leaked."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator

import httpx
import pytest

from bridge import upstream_http1
from bridge.upstream_http1 import Http1Transport
from tests.raw_server import CHUNKED, OK, Visit, always, answer, once, post, serving


@pytest.fixture
async def transport() -> AsyncIterator[Http1Transport]:
    transport = Http1Transport()
    yield transport
    await transport.aclose()


# --- Answers that are not


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-le", id="half a head"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfour", id="less than it said"),
        pytest.param(CHUNKED + b"4\r\nfour\r\n", id="chunks without an end"),
        pytest.param(CHUNKED + b"zz\r\nno size\r\n", id="a chunk without a size"),
        pytest.param(CHUNKED + b"fffffffffffffffff\r\n", id="a chunk larger than numbers go"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000, id="a head without an end"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", id="another wish"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="two lengths"
        ),
    ],
)
async def test_what_is_no_answer_is_an_error(transport: Http1Transport, content: bytes) -> None:
    async with serving(once(content)) as server:
        with pytest.raises(httpx.TransportError):
            await answer(transport, post(server))


async def test_what_came_before_the_break_is_read_first(transport: Http1Transport) -> None:
    async with serving(once(CHUNKED + b"5\r\nfirst\r\n")) as server:
        response = await transport.handle_async_request(post(server))
        chunks = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(chunks) == b"first"
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(chunks)


async def test_a_server_that_is_not_there_is_a_connect_error(transport: Http1Transport) -> None:
    async with serving(once(OK)) as server:
        pass
    with pytest.raises(httpx.ConnectError):
        await answer(transport, post(server))


async def test_a_name_that_nobody_knows_is_a_connect_error(
    transport: Http1Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nobody)
    with pytest.raises(httpx.ConnectError):
        await transport.handle_async_request(httpx.Request("POST", "http://nowhere.invalid/"))


async def test_a_connection_that_takes_too_long_is_a_connect_timeout(transport: Http1Transport) -> None:
    request = httpx.Request("POST", "http://127.0.0.1:9/", extensions={"timeout": {"connect": 0.0}})
    with pytest.raises(httpx.ConnectTimeout):
        await transport.handle_async_request(request)


async def test_silence_is_a_read_timeout(transport: Http1Transport) -> None:
    async def talk(visit: Visit) -> None:
        await visit.request()
        visit.say(CHUNKED + b"5\r\nfirst\r\n")
        await visit.reader.read()

    async with serving(talk) as server:
        with pytest.raises(httpx.ReadTimeout):
            await answer(transport, post(server, read=0.05))
        await server.visits[0].gone.wait()


async def test_a_header_cannot_bring_another_line(transport: Http1Transport) -> None:
    async with serving(always(OK)) as server:
        for value in ("beta\r\nx-api-key: mine", "beta\nx: y", "beta\rx: y", "beta\0"):
            with pytest.raises(httpx.LocalProtocolError):
                await answer(transport, post(server, **{"anthropic-beta": value}))
        assert server.visits == []


# --- Answers that are


@pytest.mark.parametrize(
    ("content", "status", "body"),
    [
        pytest.param(OK, 200, b"ok", id="a length"),
        pytest.param(CHUNKED + b"2\r\nok\r\n0\r\n\r\n", 200, b"ok", id="chunks"),
        pytest.param(CHUNKED + b"2;x=y\r\nok\r\n0\r\nx-sum: 1\r\n\r\n", 200, b"ok", id="extensions and trailers"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nok", 200, b"ok", id="until the connection ends"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nok", 200, b"ok", id="an old server"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", id="no body"),
        pytest.param(b"HTTP/1.1 529 \r\ncontent-length: 0\r\n\r\n", 529, b"", id="a status of Anthropic's"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok", id="after a 100"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK, 200, b"ok", id="after a 103"),
    ],
)
async def test_every_form_of_an_answer_is_read(
    transport: Http1Transport, content: bytes, status: int, body: bytes
) -> None:
    async with serving(once(content)) as server:
        assert await answer(transport, post(server)) == (status, body)


async def test_an_answer_cut_into_single_bytes_is_the_same(transport: Http1Transport) -> None:
    async def talk(visit: Visit) -> None:
        await visit.request()
        for byte in b"HTTP/1.1 103 Hints\r\n\r\n" + CHUNKED + b"2\r\nok\r\n0\r\n\r\n":
            visit.say(bytes([byte]))
            await visit.writer.drain()
            await asyncio.sleep(0)

    async with serving(talk) as server:
        assert await answer(transport, post(server)) == (200, b"ok")


async def test_the_request_arrives_as_it_was_meant(transport: Http1Transport) -> None:
    seen: list[bytes] = []

    async def talk(visit: Visit) -> None:
        seen.append(await visit.request())
        visit.say(OK)

    async with serving(talk) as server:
        await answer(transport, post(server, b"x" * 3_000_000, **{"x-api-key": "sk-ant-1"}))
    head, body = seen[0].split(b"\r\n\r\n", 1)
    assert head.startswith(b"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"x-api-key: sk-ant-1" in head
    assert len(body) == 3_000_000


# --- Kept connections


async def test_a_connection_is_used_again(transport: Http1Transport) -> None:
    async with serving(always(OK)) as server:
        for _ in range(5):
            assert await answer(transport, post(server)) == (200, b"ok")
        assert len(server.visits) == 1


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", id="it said so"),
        pytest.param(OK + OK, id="more came than was asked for"),
        pytest.param(OK + b"HTT", id="the beginning of more"),
    ],
)
async def test_a_connection_is_not_used_again_after(transport: Http1Transport, content: bytes) -> None:
    async with serving(always(content)) as server:
        for visits in (1, 2):
            assert await answer(transport, post(server)) == (200, b"ok")
            assert len(server.visits) == visits


async def test_a_connection_that_closed_while_it_rested_is_replaced(transport: Http1Transport) -> None:
    async with serving(once(OK)) as server:
        for visits in (1, 2, 3):
            assert await answer(transport, post(server)) == (200, b"ok")
            assert len(server.visits) == visits


async def test_a_connection_that_closes_under_the_next_request_is_replaced_once(transport: Http1Transport) -> None:
    async def talk(visit: Visit) -> None:
        await visit.request()
        visit.say(OK)
        await visit.request()  # taken, and never answered

    async with serving(talk) as server:
        for visits in (1, 2, 3):
            assert await answer(transport, post(server)) == (200, b"ok")
            assert len(server.visits) == visits


async def test_a_request_that_began_to_be_answered_is_not_sent_again(transport: Http1Transport) -> None:
    async def talk(visit: Visit) -> None:
        await visit.request()
        visit.say(OK)
        await visit.request()
        visit.say(b"HTTP/1.1 200 OK\r\n")

    async with serving(talk) as server:
        await answer(transport, post(server))
        with pytest.raises(httpx.RemoteProtocolError):
            await answer(transport, post(server))
        assert len(server.visits) == 1


async def test_bytes_that_nobody_asked_for_are_not_the_next_answer(transport: Http1Transport) -> None:
    async with serving(always(OK)) as server:
        await answer(transport, post(server))
        server.visits[0].say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfalse")
        await server.visits[0].gone.wait()
        assert await answer(transport, post(server)) == (200, b"ok")
        assert len(server.visits) == 2


async def test_an_old_connection_is_not_used_again(transport: Http1Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_http1, "IDLE_SECONDS", -1)
    async with serving(always(OK)) as server:
        await answer(transport, post(server))
        await answer(transport, post(server))
        assert len(server.visits) == 2


async def test_an_answer_before_the_whole_request_was_taken_is_heard(transport: Http1Transport) -> None:
    async def talk(visit: Visit) -> None:
        await visit.reader.readuntil(b"\r\n\r\n")
        visit.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await visit.gone.wait()

    async with serving(talk) as server:
        assert await answer(transport, post(server, b"x" * 50_000_000)) == (413, b"no")
        assert not any(transport._idle.values())


# --- Back-pressure and hang-ups


async def test_what_nobody_reads_is_left_to_the_sender(transport: Http1Transport) -> None:
    sent = 0
    stuck = asyncio.Event()

    async def talk(visit: Visit) -> None:
        nonlocal sent
        await visit.request()
        visit.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        visit.writer.transport.set_write_buffer_limits(0)
        for _ in range(1000):
            visit.say(b"x" * 100_000)
            try:
                await asyncio.wait_for(visit.writer.drain(), 0.3)
            except TimeoutError:
                stuck.set()
                await visit.writer.drain()
            sent += 100_000
        await visit.writer.drain()

    async with serving(talk) as server:
        response = await transport.handle_async_request(post(server))
        await stuck.wait()
        assert sent < 20_000_000
        total = 0
        async for chunk in response.stream:  # type: ignore[union-attr]
            total += len(chunk)
        assert total == 100_000_000
        await response.aclose()


async def test_a_slow_reader_is_not_taken_for_a_silent_upstream(transport: Http1Transport) -> None:
    async with serving(always(CHUNKED + b"5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n")) as server:
        response = await transport.handle_async_request(post(server, read=0.02))
        await asyncio.sleep(0.1)
        assert b"".join([chunk async for chunk in response.stream]) == b"firstsecond"  # type: ignore[union-attr]


async def test_an_answer_that_is_let_go_of_is_cut_at_once(transport: Http1Transport) -> None:
    async def talk(visit: Visit) -> None:
        await visit.request()
        visit.say(CHUNKED + b"5\r\nfirst\r\n")
        assert await visit.reader.read() == b""

    async with serving(talk) as server:
        response = await transport.handle_async_request(post(server))
        await response.aclose()
        async with asyncio.timeout(5):
            await server.visits[0].gone.wait()


async def test_a_connection_that_was_cut_is_gone_with_what_nobody_read(transport: Http1Transport) -> None:
    async with serving(once(CHUNKED + b"5\r\nfirst\r\n")) as server:
        response = await transport.handle_async_request(post(server))
        assert isinstance(response.stream, upstream_http1._Body)
        connection = weakref.ref(response.stream._connection)
        gc.disable()
        try:
            await response.aclose()
            async with asyncio.timeout(5):
                while connection() is not None:
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()


async def test_a_hang_up_at_any_moment_leaves_nothing_behind(transport: Http1Transport) -> None:
    async def talk(visit: Visit) -> None:
        while True:
            await visit.request()
            visit.say(CHUNKED)
            for _ in range(3):
                await asyncio.sleep(0)
                visit.say(b"5\r\nhello\r\n")
            visit.say(b"0\r\n\r\n")

    async with serving(talk) as server:
        for steps in range(60):
            task = asyncio.create_task(answer(transport, post(server)))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for _ in range(20):
            assert await answer(transport, post(server)) == (200, b"hello" * 3)
        (idle,) = transport._idle.values()
        assert len(idle) == 1
        async with asyncio.timeout(5):
            for visit in server.visits:
                if visit.writer.get_extra_info("peername") != idle[0]._transport.get_extra_info("sockname"):
                    await visit.gone.wait()

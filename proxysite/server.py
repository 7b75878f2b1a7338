"""gunicorn as Bridge runs it: its own ASGI worker, with an orderly end, and JSON for what is refused before any app.

This module is gunicorn's configuration file too: `gunicorn -c python:proxysite.server proxysite.asgi:application`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import shutil
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from gunicorn.arbiter import Arbiter
from gunicorn.asgi import websocket
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.glogging import Logger
from gunicorn.workers import gasgi
from prometheus_client import multiprocess, values

from bridge.reply import Write
from proxysite.frames import BridgeWebSocket
from proxysite.sending import DIRECT_WRITE
from tenants.ids import uuid7

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")


EARLY_BYTES = 256 * 1024  # of a next request that are kept before its turn
SLICE_BYTES = 16 * 1024
LINGER_BYTES = 64 * 1024 * 1024  # of a refused body that are thrown away, so that the refusal can be heard
LINGER_SECONDS = 10.0

_place = 0  # of this process among the files of the metrics; the master's


class BridgeProtocol(ASGIProtocol):  # type: ignore[misc]
    """One connection. Knows whether it is idle, answers malformed HTTP with OpenAI's error object, and waits with a
    next request that arrives before the last one has been put away.

    (gunicorn would feed it to the parser, whose C version keeps only the first bytes of it, and then close the
    connection: a quick client with a large body on a kept-alive connection would see it break.)
    """

    _streams = False  # an answer in chunks is on its way

    def connection_made(self, transport: Any) -> None:
        self._early = bytearray()
        self._lingers: int | None = None  # bytes still to be thrown away
        super().connection_made(transport)
        self.worker.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """In slices, so that what follows a request in the same read is never more than the parser keeps."""
        if self._lingers is not None:
            self._lingers -= len(data)
            if self._lingers < 0:
                self.transport.abort()
            return
        for start in range(0, len(data), SLICE_BYTES):
            if self._early or self._request_complete:
                self._keep(data[start:])
                return
            super().data_received(data[start : start + SLICE_BYTES] if len(data) > SLICE_BYTES else data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Once nothing goes on here any more, breaks the circles that hold this object and its buffers: one leads
        through the parser, in C, where the collector of garbage does not see it."""
        super().connection_lost(exc)
        if self._task is not None:
            self._task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._callback_parser = self._body_receiver = None

    @property
    def _request_complete(self) -> bool:
        return self._callback_parser is not None and self._callback_parser.is_complete

    def _keep(self, data: bytes) -> None:
        self._early += data
        if len(self._early) > EARLY_BYTES:
            self._pause_reading()

    def _resume_reading(self) -> None:
        """Called, among others, right before the parser is made ready for the next request."""
        super()._resume_reading()
        if self._early:
            self.worker.loop.call_soon(self._feed_early)

    def _feed_early(self) -> None:
        if self._closed or self._callback_parser is None or self._request_complete:
            return
        early, self._early = bytes(self._early), bytearray()
        self.data_received(early)

    def _close_transport(self) -> None:
        """Closes, but not on a client that is still sending what was refused unread, a body or a message: closing then
        would reset the connection, and most clients would never see why. The rest is thrown away for a while."""
        unread = self._body_receiver is not None and not self._body_receiver._complete
        if self._websocket is not None:
            unread = self._websocket.unheard and not self.transport.is_closing()
        if not unread or self._closed or self._lingers is not None or not self.transport.can_write_eof():
            super()._close_transport()
            return
        self._lingers = LINGER_BYTES
        self._closed: bool = True
        self.transport.write_eof()
        self._reading_paused = True
        super()._resume_reading()
        self.worker.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _is_websocket_upgrade(self, request: Any) -> bool:
        """Only where there is one: a server may ignore the wish, and the API's clients can read its door's answer."""
        wanted: bool = self.app.accepts_websocket(request.path) and super()._is_websocket_upgrade(request)
        return wanted

    async def _handle_websocket(self, request: Any, sockname: Any, peername: Any) -> None:
        """What came with the handshake came before it was answered: no client may send that (RFC 6455, 4.1)."""
        if self._early:
            self._send_error_response(400, "The handshake must be answered before anything is sent.")
            return
        await super()._handle_websocket(request, sockname, peername)

    def _build_http_scope(self, request: Any, sockname: Any, peername: Any) -> dict[str, Any]:
        scope: dict[str, Any] = super()._build_http_scope(request, sockname, peername)
        scope.setdefault("extensions", {})[DIRECT_WRITE] = self._ready
        return scope

    def _send_response_start(self, status: int, headers: Any, request: Any, close: bool = False) -> None:
        self._streams = (b"transfer-encoding", b"chunked") in headers
        super()._send_response_start(status, headers, request, close)

    def _ready(self) -> Write | None:
        flow = self._flow_control
        return self._write_piece if self._streams and not self._closed and not flow.write_paused else None

    def _write_piece(self, piece: bytes) -> None:
        self._send_body(piece, chunked=True)

    def close_if_idle(self, silent: bool = False) -> None:
        """Ends a kept-alive connection that waits for its next request; `silent`: or has not made its first yet."""
        if self._awaiting_request and (silent or self.req_count > 1):
            self._keepalive_timeout()

    def _send_error_response(self, status: int, message: str, extra_headers: Iterable[tuple[str, str]] = ()) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        body = msgspec.json.encode({"error": error})
        head = [
            f"HTTP/1.1 {status} {self._get_reason_phrase(status)}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"x-request-id: {uuid7()}",
            *(f"{name}: {value}" for name, value in extra_headers),
            "Connection: close",
        ]
        self._safe_write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)


ASGIProtocol._check_h1c_protocol_available()  # kept on the base class, where its own code looks for the answer
if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    values.ValueClass = values.MultiProcessValue(lambda: _place)  # type: ignore[no-untyped-call]
gasgi.ASGIProtocol = BridgeProtocol  # the worker names its protocol class at module level only
websocket.WebSocketProtocol = BridgeWebSocket  # and that one its


class BridgeWorker(gasgi.ASGIWorker):  # type: ignore[misc]
    """Tells the application when the end begins: gunicorn kills a worker at the end of the grace period, and no
    `finally` runs then, so whatever still streams has to be ended before (reliability is not left to the server)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections: weakref.WeakSet[BridgeProtocol] = weakref.WeakSet()
        self._listening = False
        self.place = 0  # set before the fork

    def notify(self) -> None:
        """The heartbeat. The event loop has listened with its own short backlog by the first one."""
        if not self._listening:
            self._listening = True
            for listener in self.sockets:
                listener.sock.listen(self.cfg.backlog)
        super().notify()

    def handle_exit_signal(self) -> None:
        super().handle_exit_signal()
        self._close_idle()
        self.loop.call_later(self.asgi.begin_shutdown(self.cfg.graceful_timeout), self._close_idle, True)

    def _close_idle(self, silent: bool = False) -> None:
        for connection in list(self.connections):
            connection.close_if_idle(silent)


class BridgeLogger(Logger):  # type: ignore[misc]
    """gunicorn's own lines go through Django's logging. No access log: the record says more, and costs less."""

    def setup(self, cfg: Any) -> None:
        self.cfg, self.loglevel, self._access_log_enabled = cfg, logging.INFO, False
        self.error_log.setLevel(logging.INFO)
        self.error_log.propagate = True


def pre_fork(server: Arbiter, worker: BridgeWorker) -> None:
    """A worker counts on in the files of a dead one: named after processes, they would be more with every death."""
    taken = {other.place for other in server.WORKERS.values()}
    worker.place = next(place for place in itertools.count(1) if place not in taken)


def post_fork(server: Arbiter, worker: BridgeWorker) -> None:
    global _place
    _place = worker.place


def child_exit(server: Arbiter, worker: BridgeWorker) -> None:
    """Live gauges of a dead worker no longer count."""
    multiprocess.mark_process_dead(worker.place)  # type: ignore[no-untyped-call]


def fresh_metrics_dir() -> Path:
    """Counters start from nothing with the server, not with each worker."""
    shutil.rmtree(settings.METRICS_DIR, ignore_errors=True)
    settings.METRICS_DIR.mkdir(mode=0o700, parents=True)
    return Path(settings.METRICS_DIR)


bind = f"[{settings.HOST}]:{settings.PORT}" if ":" in settings.HOST else f"{settings.HOST}:{settings.PORT}"
workers = settings.WEB_CONCURRENCY
worker_class = "proxysite.server.BridgeWorker"
preload_app = True
timeout = 90
graceful_timeout = settings.DRAIN_SECONDS
keepalive = 75
backlog = 2048
worker_connections = 10_000
websocket_max_message_size = settings.MAX_BODY_BYTES
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 32 * 1024
control_socket_disable = True
asgi_loop = "uvloop"
asgi_lifespan = "on"
http_parser = "fast"
logger_class = "proxysite.server.BridgeLogger"
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None

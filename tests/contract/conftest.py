"""One server for all clients: two workers, the sandbox for upstream, a live key and a test key."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.contract.clients import AsyncClient, Client, Tape
from tests.live import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with Server({"UPSTREAM": "sandbox"}, workers=2) as server:
        yield server


@pytest.fixture(scope="session")
def key(server: Server) -> str:
    """A live key of Acme's."""
    return server.issue_key("acme", "contract")


@pytest.fixture
def tape() -> Iterator[Tape]:
    """Records what a test's clients do; every answer is judged at the end, whatever the test looked at."""
    tape = Tape()
    yield tape
    tape.judge()


@pytest.fixture(params=[Client, AsyncClient], ids=["sync", "async"])
def client(request: pytest.FixtureRequest, server: Server, key: str, tape: Tape) -> Client:
    """OpenAI's client, with and without async."""
    kind: type[Client] = request.param
    return kind(tape, base_url=server.base, api_key=key)


@pytest.fixture
def once() -> str:
    """A text that no other test sends: the sandbox counts `times` by it."""
    return uuid4().hex

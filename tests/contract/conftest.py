"""One server with the sandbox for all clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with Server({"UPSTREAM": "sandbox"}, workers=2) as server:
        yield server

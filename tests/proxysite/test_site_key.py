"""The site's Anthropic key is rotated by writing a file: new calls carry the new one, what runs goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from django.test import override_settings

from proxysite import site_key
from proxysite.asgi import Application
from proxysite.site_key import SiteKey
from tests import wire
from tests.asgi import Client, chat
from tests.conftest import Stage

OLD, NEW = "sk-ant-" + "old", "sk-ant-" + "new"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{OLD}\n")
    return path


def test_the_file_counts_from_the_start(file: Path) -> None:
    assert SiteKey("what the environment said", file).text == OLD
    assert SiteKey("from the environment").text == "from the environment"


def test_a_file_that_is_written_or_put_in_place_is_read_again(file: Path, tmp_path: Path) -> None:
    key = SiteKey("", file)
    assert not key.look()
    file.write_text(NEW)
    assert key.look() and key.text == NEW and not key.look()
    link = tmp_path / "linked"  # as Kubernetes does: the name points elsewhere of a sudden
    link.write_text("sk-ant-" + "third")
    os.replace(link, file)
    assert key.look() and key.text.endswith("third")


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe", None])
def test_nothing_is_lost_to_a_file_that_is_empty_broken_or_gone(file: Path, content: bytes | None) -> None:
    key = SiteKey("", file)
    file.unlink() if content is None else file.write_bytes(content)
    assert not key.look() and key.text == OLD


@pytest.fixture
async def app(stage: Stage, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Application]:
    """A second application, whose key is in the file."""
    monkeypatch.setattr(site_key, "POLL_SECONDS", 0.01)
    with override_settings(JOURNAL_DIR=tmp_path / "second", ANTHROPIC_API_KEY="", ANTHROPIC_API_KEY_FILE=file):
        app = Application()
        await app._open()
        yield app
        await app._close()


async def test_a_stream_that_runs_ends_with_the_key_it_began_with(app: Application, stage: Stage, file: Path) -> None:
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    first, *rest = wire.answer("Hello")
    live = app._services.live
    assert live is not None
    live._transport = transport = wire.Transport(
        wire.streamed(first, *rest[:3], held, *rest[3:]), wire.streamed(*wire.answer("Hi"))
    )
    client = Client(app, stage.client.key)
    visit = client.open("POST", "/v1/chat/completions", chat(stream=True))
    await visit.some.wait()
    file.write_text(NEW)
    async with asyncio.timeout(5):
        while live.headers["x-api-key"] != NEW:
            await asyncio.sleep(0.01)
    assert (await client.chat()).status == 200
    held.set_result(None)
    assert (await visit.done()).chunks()[-1] == "[DONE]"
    assert [request.headers["x-api-key"] for request in transport.requests] == [OLD, NEW]

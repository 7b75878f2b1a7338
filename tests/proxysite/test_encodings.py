"""Compressed bodies: read as what they were, within the bounds of every body; broken ones are a 400."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import pytest
from backports import zstd
from django.test import override_settings

from proxysite import encodings
from tests.asgi import chat
from tests.conftest import Stage

PATH = "/v1/chat/completions"
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
BODY = json.dumps(chat("Hello " * 200_000)).encode()


@pytest.fixture(params=COMPRESS)
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_compressed_body_is_read_as_what_it_was(stage: Stage, encoding: str) -> None:
    got = await stage.client.post(PATH, COMPRESS[encoding](BODY), content_encoding=encoding)
    assert got.status == 200
    text = stage.transport.sent()["messages"][0]["content"][0]["text"]
    assert text.split() == ["Hello"] * 200_000
    assert stage.app._api._buffered == 0


async def test_frames_that_follow_each_other_are_one_body(stage: Stage, encoding: str) -> None:
    compress = COMPRESS[encoding]
    content = compress(BODY[:1000]) + compress(BODY[1000:])
    assert (await stage.client.post(PATH, content, content_encoding=encoding)).status == 200


@pytest.mark.parametrize("size", [100_000_000, 3_000_000])
async def test_a_bomb_ends_at_the_bound(stage: Stage, encoding: str, size: int) -> None:
    with override_settings(MAX_BODY_BYTES=1_000_000):
        got = await stage.client.post(PATH, COMPRESS[encoding](b" " * size), content_encoding=encoding)
    assert (got.status, got.error["code"]) == (413, "request_too_large")
    assert stage.app._api._buffered == 0
    assert (await stage.record()).state == "refused"


async def test_a_bomb_of_bombs_ends_at_the_bound_of_all_bodies(stage: Stage, encoding: str) -> None:
    with override_settings(MAX_BUFFERED_BYTES=1_000_000):
        got = await stage.client.post(PATH, COMPRESS[encoding](b" " * 3_000_000), content_encoding=encoding)
    assert got.status == 503
    assert stage.app._api._buffered == 0


async def test_only_as_much_is_decoded_as_is_asked_for(encoding: str) -> None:
    made = encodings.pieces(COMPRESS[encoding](b" " * 50_000_000), encoding)
    assert len(await anext(made)) <= encodings.PIECE
    await made.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("cut", [1, 5, 100, 0.5, -1])
async def test_a_broken_body_is_a_400(stage: Stage, encoding: str, cut: float) -> None:
    content = COMPRESS[encoding](BODY)
    content = content[: int(len(content) * cut)] if isinstance(cut, float) else content[:cut]
    got = await stage.client.post(PATH, content, content_encoding=encoding)
    assert (got.status, got.error["type"]) == (400, "invalid_request_error")
    assert encoding in got.error["message"]
    assert stage.app._api._buffered == 0


@pytest.mark.parametrize("content", [b"not compressed", BODY])
async def test_a_body_that_is_not_what_it_says_is_a_400(stage: Stage, encoding: str, content: bytes) -> None:
    assert (await stage.client.post(PATH, content, content_encoding=encoding)).status == 400


async def test_a_frame_that_asks_for_much_memory_is_refused(stage: Stage) -> None:
    options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    compressor = zstd.ZstdCompressor(options=options)
    content = compressor.compress(BODY) + compressor.flush()
    assert (await stage.client.post(PATH, content, content_encoding="zstd")).status == 400

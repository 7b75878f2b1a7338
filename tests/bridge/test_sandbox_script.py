"""The sandbox does what the markers ask."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest

from bridge import sandbox, sandbox_request, sandbox_script
from bridge.sandbox import Sandbox
from tests.bridge.sandbox_client import OPUS, Clock, events, fold, frames, request, row, text_of, texts, whole


def test_every_marker_is_in_the_documented_table() -> None:
    documented = re.findall(r"^\| `\[sandbox:(\w+)", sandbox_script.__doc__ or "", re.MULTILINE)
    assert sorted(documented) == sorted(sandbox_script.MARKERS)


@pytest.mark.parametrize(
    ("text", "explained"),
    [
        ("[sandbox:] hi", "There is no [sandbox:]. There are tool, tools, slow, echo, lorem"),
        ("[sandbox:nonsense] hi", "There is no [sandbox:nonsense]."),
        ("[sandbox:lorem tokens=many]", "[sandbox:lorem] cannot take 'tokens=many'. It takes tokens=1…100000, rate="),
        ("[sandbox:lorem tokens=100001]", "tokens=1…100000"),
        ("[sandbox:lorem tokens=0]", "tokens=1…100000"),
        ("[sandbox:lorem tokens=1.5]", "tokens=1…100000"),
        ("[sandbox:lorem rate=nan]", "rate=0.1…100000"),
        ("[sandbox:slow first=121]", "first=0…120"),
        ("[sandbox:slow first=inf]", "first=0…120"),
        ("[sandbox:echo loudly]", "[sandbox:echo] cannot take 'loudly'. It takes nothing."),
        ("[sandbox:error status=418]", "[sandbox:error] takes one of these: status=400,"),
        ("[sandbox:stop]", "needs `stop_sequences`"),
    ],
)
async def test_a_marker_that_cannot_be_followed_is_explained(api: httpx.AsyncClient, text: str, explained: str) -> None:
    message = await whole(api, text)
    assert text_of(message).startswith("This answer comes from Bridge's sandbox, not from Claude. ")
    assert explained in text_of(message)
    assert message["stop_reason"] == "end_turn"


@pytest.mark.parametrize("said", ["hello", "  two spaces before", "a\n\nb", "[not a marker]", "你好 " * 200])
async def test_echo_answers_with_exactly_the_rest(api: httpx.AsyncClient, said: str) -> None:
    assert text_of(await whole(api, f"[sandbox:echo] {said}")) == said


async def test_an_echo_of_nothing_has_no_content(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:echo]")
    assert (message["content"], message["stop_reason"]) == ([], "end_turn")


@pytest.mark.parametrize("tokens", [1, 2, 200, 100_000])
async def test_lorem_has_as_many_tokens_as_it_was_asked_for(api: httpx.AsyncClient, tokens: int) -> None:
    stream = await events(api, f"[sandbox:lorem tokens={tokens}]", max_tokens=100_000)
    assert fold(stream)["usage"]["output_tokens"] == tokens
    assert len(texts(stream)) == tokens


async def test_a_rate_spreads_the_tokens_over_time(api: httpx.AsyncClient, clock: Clock) -> None:
    await events(api, "[sandbox:lorem tokens=200 rate=50]")
    assert len(clock.slept) == 200
    assert clock.now == pytest.approx(4.0)
    await whole(api, "[sandbox:lorem tokens=200 rate=50]")
    assert clock.now == pytest.approx(8.0)


async def test_a_rate_holds_when_every_wake_up_is_late() -> None:
    clock = Clock()

    async def oversleep(seconds: float) -> None:
        await clock.sleep(seconds + 0.01)

    transport = Sandbox([row(OPUS)], sleep=oversleep, clock=clock)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.anthropic.com") as client:
        await events(client, "[sandbox:lorem tokens=200 rate=50]")
    assert clock.now == pytest.approx(4.0, abs=0.03)


async def test_a_rate_holds_for_a_clock_that_stands_still() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    transport = Sandbox([row(OPUS)], sleep=sleep, clock=lambda: 0.0)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.anthropic.com") as client:
        await events(client, "[sandbox:slow first=2.5 rate=2] eight by")
    assert slept == pytest.approx([2.5, 5 / 8, 3 / 8])


async def test_no_answer_takes_longer_than_half_an_hour(api: httpx.AsyncClient, clock: Clock) -> None:
    await events(api, "[sandbox:lorem tokens=100000 rate=0.1]", max_tokens=100_000)
    assert clock.now == pytest.approx(1800)


async def test_slow_waits_before_the_first_event_and_then_echoes(api: httpx.AsyncClient, clock: Clock) -> None:
    async with api.stream("POST", "/v1/messages", json=request("[sandbox:slow first=7] hi", stream=True)) as response:
        assert clock.now == 0
        chunks = response.aiter_bytes()
        assert b"message_start" in await anext(chunks)
        assert clock.now == 7
        rest = b"".join([chunk async for chunk in chunks])
    assert b'"text":"hi"' in rest
    assert clock.slept == [7]


async def test_a_client_may_leave_in_the_middle(api: httpx.AsyncClient, clock: Clock) -> None:
    body = request("[sandbox:lorem tokens=200 rate=50]", stream=True)
    async with api.stream("POST", "/v1/messages", json=body) as response:
        async for _ in response.aiter_bytes():
            if clock.now > 1:
                break
    assert clock.now < 1.1
    assert text_of(await whole(api, "[sandbox:echo] next")) == "next"


async def test_an_answer_without_a_rate_is_not_delayed(api: httpx.AsyncClient, clock: Clock) -> None:
    await events(api, "[sandbox:lorem tokens=5000]", max_tokens=5000)
    await whole(api)
    assert clock.slept == []


async def test_a_long_answer_at_once_lets_others_run(api: httpx.AsyncClient) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await events(api, "[sandbox:lorem tokens=5000]", max_tokens=5000)
    task.cancel()
    assert turns > 50


async def test_thinking_comes_first_and_is_signed(api: httpx.AsyncClient) -> None:
    stream = await events(api, "[sandbox:think tokens=20][sandbox:echo] done")
    thinking, said = fold(stream)["content"]
    kinds = [event["delta"]["type"] for event in stream if event["type"] == "content_block_delta"]
    assert kinds[-2:] == ["signature_delta", "text_delta"]
    assert set(kinds[:-2]) == {"thinking_delta"}
    assert (thinking["type"], len(thinking["thinking"]), said["text"]) == ("thinking", 80, "done")
    assert thinking["signature"]
    assert stream[-2]["usage"]["output_tokens"] == 21
    assert stream[-2]["usage"]["output_tokens_details"] == {"thinking_tokens": 20}
    assert "output_tokens_details" not in stream[0]["message"]["usage"]


async def test_omitted_thinking_is_empty_but_counted(api: httpx.AsyncClient) -> None:
    stream = await events(api, "[sandbox:think tokens=20]", thinking={"type": "adaptive", "display": "omitted"})
    message = fold(stream)
    assert message["content"][0]["thinking"] == ""
    assert message["content"][0]["signature"]
    assert message["usage"]["output_tokens_details"] == {"thinking_tokens": 20}


async def test_disabled_thinking_stays_off(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:think] hi", thinking={"type": "disabled"})
    assert [block["type"] for block in message["content"]] == ["text"]
    assert "output_tokens_details" not in message["usage"]


async def test_an_answer_longer_than_max_tokens_is_cut_there(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:lorem tokens=50]", max_tokens=10)
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("max_tokens", 10)
    assert len(text_of(message)) == 40


async def test_a_cut_never_splits_a_character(api: httpx.AsyncClient) -> None:
    assert text_of(await whole(api, "[sandbox:echo] x你好", max_tokens=1)) == "x你"
    assert text_of(await whole(api, "[sandbox:echo] xx你好", max_tokens=1)) == "xx"


async def test_no_tokens_at_all_is_no_content_at_all(api: httpx.AsyncClient) -> None:
    message = await whole(api, max_tokens=0)
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")
    assert message["usage"]["output_tokens"] == 0


async def test_the_max_tokens_marker_breaks_the_answer_off(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:max_tokens][sandbox:echo] 12345678")
    assert (text_of(message), message["stop_reason"]) == ("1234", "max_tokens")


async def test_a_stop_sequence_cuts_the_answer_and_is_named(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:echo] one two three", stop_sequences=["three", " two", "four"])
    assert text_of(message) == "one"
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", " two")


async def test_the_stop_marker_runs_into_the_first_stop_sequence(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:stop][sandbox:echo] one", stop_sequences=["END", "one more"])
    assert text_of(message) == "one "
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


async def test_a_refusal_is_a_200_with_an_explanation(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:refusal]")
    assert (message["content"], message["stop_reason"]) == ([], "refusal")
    assert message["stop_details"]["type"] == "refusal"
    assert message["stop_details"]["explanation"]
    stream = await events(api, "[sandbox:refusal after=2][sandbox:echo] one two three")
    assert texts(stream) == ["one", " two"]
    assert stream[-2]["delta"]["stop_reason"] == "refusal"


async def test_cached_tokens_are_in_the_usage(api: httpx.AsyncClient) -> None:
    usage = (await whole(api, "[sandbox:cached tokens=1000 write_5m=20 write_1h=3] hi"))["usage"]
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (1000, 23)
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 3}


@pytest.mark.parametrize(("after", "arrived"), [(0, 0), (2, 2), (3, 3), (100_000, 3)])
async def test_a_cut_breaks_the_stream_after_so_many_deltas(api: httpx.AsyncClient, after: int, arrived: int) -> None:
    body = request(f"[sandbox:cut after={after}][sandbox:echo] one two three", stream=True)
    received = b""
    async with api.stream("POST", "/v1/messages", json=body) as response:
        with pytest.raises(httpx.ReadError):
            async for chunk in response.aiter_bytes():
                received += chunk
    assert len(texts(frames(received))) == arrived
    assert b"message_delta" not in received


async def test_a_cut_breaks_a_whole_answer_too(api: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.ReadError):
        await api.post("/v1/messages", json=request("[sandbox:cut]"))


@pytest.mark.parametrize(("after", "arrived"), [(0, 0), (2, 2), (3, 3), (100_000, 3)])
async def test_an_error_event_ends_the_stream_after_so_many_deltas(
    api: httpx.AsyncClient, after: int, arrived: int
) -> None:
    stream = await events(api, f"[sandbox:error_midstream after={after}][sandbox:echo] one two three")
    assert len(texts(stream)) == arrived
    assert (stream[-1]["type"], stream[-1]["error"]["type"]) == ("error", "overloaded_error")
    assert "message_delta" not in {event["type"] for event in stream}


async def test_an_error_midstream_is_a_529_for_a_whole_answer(api: httpx.AsyncClient) -> None:
    response = await api.post("/v1/messages", json=request("[sandbox:error_midstream]"))
    assert response.status_code == 529


@pytest.mark.parametrize(
    ("marker", "status", "kind", "retry_after"),
    [
        ("overloaded", 529, "overloaded_error", None),
        ("overloaded retry=1", 529, "overloaded_error", "1"),
        ("rate_limited", 429, "rate_limit_error", None),
        ("rate_limited retry=7", 429, "rate_limit_error", "7"),
        ("error", 500, "api_error", None),
        *((f"error status={status}", status, kind, None) for status, kind in sandbox_request.ERRORS.items()),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_has_its_status_type_and_retry_after(
    api: httpx.AsyncClient, marker: str, status: int, kind: str, retry_after: str | None, stream: bool
) -> None:
    response = await api.post("/v1/messages", json=request(f"[sandbox:{marker}]", stream=stream))
    assert (response.status_code, response.json()["error"]["type"]) == (status, kind)
    assert response.headers.get("retry-after") == retry_after
    assert response.headers["content-type"] == "application/json"


async def test_a_failure_with_times_passes_for_that_very_text(api: httpx.AsyncClient) -> None:
    async def status(text: str) -> int:
        return (await api.post("/v1/messages", json=request(text))).status_code

    text = "[sandbox:overloaded times=2] hello"
    assert [await status(text) for _ in range(4)] == [529, 529, 200, 200]
    assert await status(f"{text} again") == 529
    assert text_of(await whole(api, text)).endswith("You said: hello")


async def test_the_memory_of_failures_is_bounded(api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "REMEMBERED", 2)

    async def status(text: str) -> int:
        return (await api.post("/v1/messages", json=request(f"[sandbox:error times=1] {text}"))).status_code

    assert [await status(text) for text in ("a", "b", "b", "c", "b", "a")] == [500, 500, 200, 500, 200, 500]


async def test_an_error_can_be_slow(api: httpx.AsyncClient, clock: Clock) -> None:
    response = await api.post("/v1/messages", json=request("[sandbox:error status=500] [sandbox:slow first=2]"))
    assert (response.status_code, clock.now) == (500, 2)


async def test_markers_combine_in_any_order(api: httpx.AsyncClient) -> None:
    asked = ["[sandbox:echo]", "[sandbox:think tokens=5]", "[sandbox:cached tokens=10]", "[sandbox:slow first=1]"]
    one, other = await whole(api, " ".join(asked) + " hi"), await whole(api, "hi" + "".join(reversed(asked)))
    assert one.pop("id") != other.pop("id")
    assert one.pop("usage")["output_tokens"] == other.pop("usage")["output_tokens"] == 6
    assert one["content"][0].pop("signature") != other["content"][0].pop("signature")  # of what was asked before it
    assert one == other

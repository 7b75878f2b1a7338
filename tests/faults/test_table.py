"""What becomes of each fault, on one worker and on four: answer, record and money (docs/faults.md)."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socketserver
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.faults.load import Ask, End, Leave, Seen, run, swarm
from tests.faults.stage import connections, resident
from tests.faults.table import INPUT_NANOS, OUTPUT_NANOS, ROWS, Outcome, Row, Stand
from tests.live import free_port, until

LONG = "[fault:ok tokens=200 rate=20]"
QUICK = "[fault:ok tokens=1]"
FLOOD = "[fault:ok tokens=200000]"  # more than all buffers on the way hold
NOBODY = f"http://127.0.0.1:{free_port()}"
READERS, READER_BYTES, WORKER_BYTES = 8, 2 * 2**20, 8 * 2**20  # a worker grows with its first large answers


@pytest.fixture(scope="module", params=[1, 4], ids=["1 worker", "4 workers"])
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    with Stand(request.param) as stand:
        yield stand


@pytest.mark.parametrize("text", ["[fault:flaky code=529]", "[fault:flaky code=429 retry=1]"])
def test_a_passing_failure_is_retried_and_nobody_notices(stand: Stand, text: str) -> None:
    before, _ = stand.money()
    outcomes = stand.both(text)
    for outcome in outcomes:
        assert outcome.seen.end is End.DONE
        assert (outcome.record["state"], outcome.record["attempts"], len(outcome.calls)) == ("settled", 2, 2)
        assert outcome.record["upstream_id"] == upstream_id(outcome)
    assert stand.money() == (before + sum(exact(outcome) for outcome in outcomes), 0)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_failure_of_upstream_ends_as_the_table_says(stand: Stand, row: Row) -> None:
    before, _ = stand.money()
    outcomes = stand.both(row.text)
    for outcome in outcomes:
        its_client_is_told(row, outcome)
        it_is_on_record(row, outcome)
        it_is_charged(row, outcome)
    assert stand.money() == (before + sum(outcome.record["cost_nanos"] or 0 for outcome in outcomes), 0)


@pytest.mark.parametrize(("workers", "tls"), [(1, False), (4, True)], ids=["nobody listens", "no TLS there"])
def test_an_upstream_that_cannot_be_reached_is_a_502(workers: int, tls: bool) -> None:
    with stranger() as port, Stand(workers, ANTHROPIC_BASE_URL=f"https://127.0.0.1:{port}" if tls else NOBODY) as stand:
        for outcome in stand.both("hi"):
            assert (outcome.seen.status, outcome.error["code"]) == (502, "upstream_unreachable")
            assert outcome.seen.seconds < 6
            assert (outcome.record["state"], outcome.record["attempts"]) == ("failed", 3)
        assert stand.money() == (0, 0)


def test_what_upstream_may_say_one_day_is_passed_over(stand: Stand) -> None:
    for outcome in stand.both("[fault:unknown_events]"):
        assert outcome.seen.end is End.DONE and b"hologram" not in outcome.seen.body
        assert (outcome.record["state"], outcome.record["cost_nanos"]) == ("settled", exact(outcome))


def test_no_redirect_is_followed(stand: Stand) -> None:
    stand.both("[fault:redirect]")
    assert "/redirected" not in {call["path"] for call in stand.fake.ledger()["requests"]}


def test_a_compressed_answer_is_not_unpacked(stand: Stand) -> None:
    before = memory(stand)
    for outcome in stand.both("[fault:gzip bomb=50000000]"):
        assert (outcome.seen.status, outcome.record["error_code"]) == (502, "upstream_truncated")
        assert {call["headers"]["accept-encoding"] for call in outcome.calls} == {"identity"}
    assert memory(stand) - before < 10_000_000


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize(
    ("text", "status", "charged"), [(LONG, 200, "estimated"), ("[fault:hang]", 499, "bound")], ids=["C1", "C2"]
)
def test_a_client_that_leaves_ends_its_call_and_pays_for_what_was_done(
    stand: Stand, text: str, status: int, charged: str, reset: bool
) -> None:
    before, _ = stand.money()
    outcomes = stand.both(text, Leave("wait", 0.5, reset))
    for outcome in outcomes:
        assert outcome.seen.end is End.LEFT
        (call,) = outcome.calls
        assert call["ended"] == "client_closed" and call["closed_at"] - outcome.seen.ended < 1
        record = outcome.record
        assert (record["state"], record["error_code"], record["usage_source"]) == ("cancelled", "", charged)
        assert record["status"] == (status if outcome.seen.ask.stream else 499)
        assert 0 < record["cost_nanos"] <= record["held_nanos"]
    assert stand.money() == (before + sum(outcome.record["cost_nanos"] for outcome in outcomes), 0)


def test_readers_that_stand_still_take_little_memory_and_hold_up_nobody(stand: Stand) -> None:
    async def asked() -> tuple[list[Seen], list[Seen], int]:
        before, heard = memory(stand), stand.fake.ledger("summary=1")["total"]
        still = [Ask(FLOOD, True, Leave("deaf", 2.5)) for _ in range(READERS)]
        reading = asyncio.create_task(swarm(stand.port, stand.key, still, READERS))
        await asyncio.to_thread(until, lambda: stand.fake.ledger("summary=1")["total"] >= heard + READERS, 5)
        quick = await swarm(stand.port, stand.key, [Ask(QUICK, False) for _ in range(20)], 2)
        await asyncio.sleep(0.5)  # so that whatever is read ahead of the readers is
        grown = memory(stand) - before
        return await reading, quick, grown

    still, quick, grown = run(asked())
    assert {one.end for one in quick} == {End.DONE}
    assert grown < READERS * READER_BYTES + stand.workers * WORKER_BYTES
    assert {outcome.record["state"] for outcome in stand.ended(still)} == {"cancelled"}


def test_a_locked_database_refuses_who_has_a_budget_and_nobody_else(stand: Stand) -> None:
    with stand.locked():
        refused = run(swarm(stand.port, stand.key, [Ask(QUICK, stream) for stream in (False, True)], 2))
        served = run(swarm(stand.port, stand.free_key, [Ask(QUICK, stream) for stream in (False, True)], 2))
    for outcome in stand.ended(refused, seconds=30):
        assert (outcome.seen.status, outcome.error["code"]) == (503, "budget_store_unavailable")
        assert outcome.seen.headers["retry-after"] == "1"
        assert (outcome.record["state"], outcome.record["cost_nanos"], outcome.calls) == ("refused", None, [])
    for outcome in stand.ended(served, seconds=30):
        assert (outcome.seen.end, outcome.record["state"]) == (End.DONE, "settled")
    until(lambda: stand.money()[1] == 0)


def test_a_worker_that_hangs_holds_up_nobody_else(stand: Stand) -> None:
    hanging, *others = stand.server.workers()
    if not others:
        pytest.skip("there is nobody else")
    os.kill(hanging, signal.SIGSTOP)
    try:
        seen = run(swarm(stand.port, stand.free_key, [Ask(QUICK, n % 2 == 0) for n in range(40)], 8))
    finally:
        os.kill(hanging, signal.SIGCONT)
    assert {one.end for one in seen} == {End.DONE}
    stand.ended(seen)


def test_a_killed_worker_leaves_its_requests_interrupted_at_the_price_of_their_hold(stand: Stand) -> None:
    def kill() -> None:
        for pid in stand.server.workers():
            if connections(pid, stand.port):
                os.kill(pid, signal.SIGKILL)

    before, _ = stand.money()
    outcomes = stand.ended(under_way(stand, kill))
    for outcome in outcomes:
        assert outcome.seen.end is (End.CUT if outcome.seen.ask.stream else End.UNANSWERED)
        record = outcome.record
        assert (record["state"], record["usage_source"]) == ("interrupted", "bound")
        assert record["cost_nanos"] == record["held_nanos"] > 0
    assert stand.money() == (before + sum(outcome.record["cost_nanos"] for outcome in outcomes), 0)
    until(lambda: len(stand.server.workers()) == stand.workers)


def test_a_stop_ends_what_runs_with_a_word_and_charges_what_was_seen(stand: Stand) -> None:
    before, _ = stand.money()
    seen = under_way(stand, lambda: stand.server.stop())
    outcomes = stand.ended(seen)
    stand.server.start()
    for outcome in outcomes:
        assert outcome.seen.status == (200 if outcome.seen.ask.stream else 503)
        assert (outcome.seen.end, outcome.error["code"]) == (End.ERROR, "server_shutdown")
        record = outcome.record
        assert (record["state"], record["error_code"]) == ("interrupted", "server_shutdown")
        assert (record["usage_source"], record["status"]) == ("estimated", outcome.seen.status)
        assert record["cost_nanos"] == cost(record["input_tokens"], record["output_tokens"]) < record["held_nanos"]
    assert stand.money() == (before + sum(outcome.record["cost_nanos"] for outcome in outcomes), 0)


def under_way(stand: Stand, happens: Callable[[], object]) -> list[Seen]:
    """What a whole and a streamed request saw while whose answers were coming something happened."""

    async def asked() -> list[Seen]:
        before = len(stand.fake.calls())
        asks = [Ask(LONG, stream) for stream in (False, True)]
        answers = asyncio.create_task(swarm(stand.port, stand.key, asks, len(asks)))
        await asyncio.to_thread(until, lambda: [c["tokens"] > 5 for c in stand.fake.calls()[before:]] == [True] * 2, 5)
        await asyncio.to_thread(happens)
        return await answers

    return run(asked())


class Stranger(socketserver.BaseRequestHandler):
    """Speaks no TLS."""

    def handle(self) -> None:
        self.request.recv(4096)
        self.request.sendall(b"220 ready\r\n")


@contextlib.contextmanager
def stranger() -> Iterator[int]:
    """The port of one."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Stranger) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield int(server.server_address[1])
        server.shutdown()
        serving.join()


def memory(stand: Stand) -> int:
    """Bytes of all workers together."""
    return sum(resident(pid) for pid in stand.server.workers())


def its_client_is_told(row: Row, outcome: Outcome) -> None:
    seen = outcome.seen
    streaming = row.begun and seen.ask.stream
    assert (seen.end, seen.status) == (End.ERROR, 200 if streaming else row.status)
    assert outcome.error == {"message": outcome.error["message"], "type": row.type, "param": None, "code": row.code}
    assert outcome.error["message"] and "sk-ant" not in outcome.error["message"]
    if streaming:
        assert b"[DONE]" not in seen.body and b'"finish_reason":"' not in seen.body
    else:
        assert seen.headers["content-type"] == "application/json"
        assert seen.headers.get("x-should-retry") == ("false" if row.no_retry else None)
        assert seen.headers.get("retry-after") == row.retry_after
    assert seen.seconds <= row.within


def it_is_on_record(row: Row, outcome: Outcome) -> None:
    record = outcome.record
    assert (record["state"], record["status"]) == ("failed", outcome.seen.status)
    assert record["error_code"] == (row.code or "")
    assert 1 <= record["attempts"] <= (3 if row.retried else 1)
    # A kept connection that closes before it answers is replaced once, within its attempt.
    assert record["attempts"] <= len(outcome.calls) <= record["attempts"] * (2 if row.unread else 1)
    assert record["upstream_id"] == (None if row.unread else upstream_id(outcome))
    assert record["stop_reason"] == ""


def it_is_charged(row: Row, outcome: Outcome) -> None:
    record = outcome.record
    assert record["usage_source"] == row.charged
    match row.charged:
        case "bound":
            assert record["cost_nanos"] == record["held_nanos"] > 0
        case "estimated":
            assert record["input_tokens"] == input_tokens(outcome)
            assert record["output_tokens"] >= max(1, outcome.seen.body.count(b'" tok"'))
            assert record["cost_nanos"] == cost(record["input_tokens"], record["output_tokens"]) < record["held_nanos"]
        case _:
            assert (record["input_tokens"], record["output_tokens"], record["cost_nanos"]) == (0, 0, None)


def upstream_id(outcome: Outcome) -> str | None:
    """Of the last attempt, if it had an answer."""
    last = outcome.calls[-1]
    return f"req_fault{last['n']:012d}" if last["status"] else None


def exact(outcome: Outcome) -> int:
    """What a whole answer costs by what upstream counted."""
    return cost(input_tokens(outcome), int(outcome.calls[-1]["tokens"]))


def cost(input: int, output: int) -> int:
    return input * INPUT_NANOS + output * OUTPUT_NANOS


def input_tokens(outcome: Outcome) -> int:
    """As the fake Anthropic counts."""
    ask = outcome.seen.ask
    return math.ceil(len(f"[id:{ask.name}] {ask.text}") / 4)

"""What becomes of each fault, on one worker and on four: answer, record and money (docs/faults.md)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from tests.faults.load import End
from tests.faults.table import INPUT_NANOS, OUTPUT_NANOS, ROWS, Outcome, Row, Stand


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

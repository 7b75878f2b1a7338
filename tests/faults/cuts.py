"""Proof: an upstream answer that is cut, wherever and however, never looks like a whole one."""

from __future__ import annotations

import random
import re

from tests.faults import accounts
from tests.faults.load import Ask, End, Seen, run, swarm
from tests.faults.report import Report
from tests.faults.scenarios import MESSAGE_STOP
from tests.faults.stage import Json, Stage

TOKENS = 32
EVENTS = TOKENS + 5  # before the last one, message_stop
PATIENCE = 8.0  # seconds: a cut is noticed at once, or never
FINISHED = re.compile(rb'"finish_reason":\s*"')


def cuts(count: int, at_once: int = 12, seed: int = 1) -> Report:
    chance = random.Random(seed)
    report = Report(
        f"{count:,} upstream answers cut at random points in nine ways, half of them for streams; seed {seed}"
    )
    with Stage() as stage:
        size = _whole_size(stage)
        asks = [Ask(_cut(chance, size), chance.random() < 0.5) for _ in range(count)]
        seen = run(swarm(stage.port, stage.key, asks, at_once, patience=PATIENCE))
        records = stage.settled(lambda records: len(records) >= count + 1)[1:]
        calls = stage.fake.calls()[1:]
    report.told("ways", _ways(calls))
    _judge(report, seen, records)
    accounts.compare(report, seen, records, calls)
    accounts.proper_ends(report, seen)
    return report


def _judge(report: Report, seen: list[Seen], records: list[Json]) -> None:
    streams, wholes = [one for one in seen if one.ask.stream], [one for one in seen if not one.ask.stream]
    report.none_of("streams that say [DONE]", [one.ask.text for one in streams if b"[DONE]" in one.body])
    report.none_of("streams with a finish reason", [one.ask.text for one in streams if FINISHED.search(one.body)])
    report.none_of("whole answers with a status below 500", [one.ask.text for one in wholes if one.status < 500])
    report.none_of("answers that do not end with an error", [one.ask.text for one in seen if one.end is not End.ERROR])
    unfailed = [f"{record['id']} {record['state']}" for record in records if record["state"] != "failed"]
    report.none_of("records that are not failed", unfailed)


def _whole_size(stage: Stage) -> int:
    """Bytes of a whole answer to such a request: texts and names are always as long, so answers are too."""
    run(swarm(stage.port, stage.key, [Ask(_at(99_999))], 1))
    return int(stage.fake.calls()[0]["bytes"])


def _at(byte: int) -> str:
    return f"[fault:cut_bytes at={byte:05d} tokens={TOKENS}]"


def _cut(chance: random.Random, size: int) -> str:
    after = chance.randint(0, EVENTS)
    last = size - len(MESSAGE_STOP)
    return chance.choice(
        (
            _at(chance.randint(0, last)),
            _at(chance.randint(0, last)),
            _at(chance.randint(last, size - 3)),  # within the last event, before its last brace
            f"[fault:eof after={after}]",
            f"[fault:eof after={after} chunked=0]",
            f"[fault:rst after={after}]",
            f"[fault:bad_chunk after={after}]",
            f"[fault:short_length after={after}]",
            f"[fault:error_event after={after}]",
            f"[fault:malformed_json after={after}]",
        )
    )


def _ways(calls: list[Json]) -> str:
    names = [str(call["scenario"]) for call in calls]
    return ", ".join(f"{name} {names.count(name):,}" for name in sorted(set(names)))

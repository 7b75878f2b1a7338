"""Proof: told to stop, the server ends every stream properly, says that it is going, and is gone in time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass, field

from tests.faults import accounts
from tests.faults.load import Ask, Client, End, Seen, run
from tests.faults.report import Report
from tests.faults.stage import Stage, still_open
from tests.live import until

GRACE = 6  # seconds; what still streams is ended 2.5 s before
LONG = "[fault:ok tokens=2000 rate=20]"
SHORT = "[fault:ok tokens=60 rate=20]"  # over half a second before the end begins, even if it has only just begun
PROBES = 10


@dataclass(slots=True)
class Stopped:
    """One SIGTERM and what was seen of it."""

    seen: list[Seen] = field(default_factory=list)
    probed: list[int] = field(default_factory=list)  # /readyz meanwhile; 0: the connection was closed
    seconds: float = 0.0
    code: int = 0
    open: list[str] = field(default_factory=list)  # records at the exit
    journal: list[str] = field(default_factory=list)  # its files at the exit
    killed: int = 0  # workers that did not end by themselves


def drain(streams: int, rounds: int = 1, silent: int = 0) -> Report:
    """`silent`: connections on which nothing was asked, as browsers and balancers open them, or only half a line."""
    report = Report(
        f"{rounds} × SIGTERM with {streams} live streams, every second one too long to finish, and {silent} connections"
        f" that say nothing or stop in the middle of a line; DRAIN_SECONDS={GRACE}, 2 workers"
    )
    with Stage(DRAIN_SECONDS=str(GRACE)) as stage:
        stops = list[Stopped]()
        for _ in range(rounds):
            if stops:
                stage.server.start()
            stops.append(run(_stop(stage, streams, silent)))
            stops[-1].open = [row["id"] for row in still_open(stage.server.records())]
            stops[-1].journal = [path.name for path in (stage.server.data_dir / "journal").iterdir()]
        seen, records = [one for stop in stops for one in stop.seen], stage.server.records()
        report.exactly("records at the exit", len(records), len(seen))
        accounts.compare(report, seen, records, stage.fake.calls())
        accounts.proper_ends(report, seen)
    _judge(report, seen, stops)
    return report


def _judge(report: Report, seen: list[Seen], stops: list[Stopped]) -> None:
    short = [one for one in seen if one.ask.text == SHORT]
    unfinished = [f"{one.end} {one.body[-160:]!r}" for one in short if one.end is not End.DONE]
    report.none_of("streams that had the time to finish and did not", unfinished)
    long = [one for one in seen if one.ask.text == LONG]
    untold = [f"{one.end} {one.body[-160:]!r}" for one in long if b'"code":"server_shutdown"' not in one.body]
    report.none_of("streams cut short without being told why", untold)
    probed = [status for stop in stops for status in stop.probed if status]
    report.none_of("probes of /readyz on open connections answered otherwise than 503", [s for s in probed if s != 503])
    report.at_least("probes of /readyz on open connections answered 503", len(probed), len(stops))
    report.at_most("from SIGTERM to the exit, the longest", max(stop.seconds for stop in stops), GRACE, " s")
    report.none_of("records open at the exit", [name for stop in stops for name in stop.open])
    report.none_of(
        "journal files not carried into the database at the exit", [n for stop in stops for n in stop.journal]
    )
    report.exactly("exits with another code than 0", sum(stop.code != 0 for stop in stops))
    report.exactly("workers that had to be killed at the end of the grace period", sum(stop.killed for stop in stops))


async def _stop(stage: Stage, streams: int, silent: int) -> Stopped:
    stop, before = Stopped(), len(stage.fake.calls())
    clients = [Client(stage.port, stage.key) for _ in range(streams)]
    answers = [asyncio.create_task(client.ask(Ask((LONG, SHORT)[n % 2]))) for n, client in enumerate(clients)]
    others = [Client(stage.port, stage.key) for _ in range(PROBES + silent)]
    await asyncio.gather(*(other.connect() for other in others))
    for half in others[PROBES::2]:
        await half.say(b"POST /v1/chat/comp")
    await asyncio.to_thread(until, lambda: _streaming(stage, before) == streams, 20, "the start of every stream")
    logged, started = len(stage.server.log()), time.monotonic()
    stopping = asyncio.create_task(asyncio.to_thread(stage.server.stop))
    await asyncio.to_thread(until, lambda: _refuses(stage.port), 5, "the end of listening")
    stop.probed = [await _probe(probe) for probe in others[:PROBES]]
    stop.seen = list(await asyncio.gather(*answers))
    stop.code = await stopping
    stop.seconds = time.monotonic() - started
    stop.killed = stage.workers - stage.server.log()[logged:].count("Worker exiting")
    await asyncio.gather(*(client.close() for client in (*clients, *others)))
    return stop


async def _probe(client: Client) -> int:
    try:
        return (await client.get("/readyz"))[0]
    except (OSError, EOFError):
        return 0


def _streaming(stage: Stage, before: int) -> int:
    return sum(call["tokens"] > 0 for call in stage.fake.calls()[before:])


def _refuses(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 1):
        return False
    return True

"""Proof: whatever is sent, the answer is JSON, never a 5xx, and nothing of it reaches upstream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass

from tests.faults import garbage
from tests.faults.load import Ask, percentile, run, swarm
from tests.faults.nonsense import Nonsense, Request
from tests.faults.report import Report
from tests.faults.stage import Stage, still_open

AT_ONCE = 8
SILENCE = 0.5  # seconds after which a server that still waits for more is told that there is no more
PATIENCE = 5.0  # seconds until the end of the connection then
KEY = re.compile(r"sk-bridge_\w+")
BARE_LF = "bare_lf"  # a server may take it for a line end; apart, because a proxy in front may differ
ANSWERS = (b'"object":"chat.completion', b'"type":"message"', b'"type":"message_start"')
ENDS = (b"data: [DONE]\n\n", b'data: {"type":"message_stop"}\n\n')
ERROR = {"message", "type", "param", "code"}


@dataclass(slots=True)
class Answer:
    status: int = 0  # 0: the connection was closed without an answer
    kind: str = ""
    head: bytes = b""
    body: bytes = b""
    hung: bool = False
    seconds: float = 0.0


def malformed(requests: int, seed: int = 20261122) -> Report:
    raw = max(requests // 10, 50)
    report = Report(f"{requests:,} malformed requests, {raw:,} pieces of improper HTTP, {AT_ONCE} at once; seed {seed}")
    with Stage() as stage:
        workers = stage.server.workers()
        nonsense = Nonsense(seed, stage.key)
        asked = [nonsense.next() for _ in range(requests)]
        answers = run(send_all(stage.port, [request.wire() for request in asked]))
        _judge_requests(report, asked, answers)
        calls = len(stage.fake.calls())
        whole = sum(answer.status == 200 and any(sign in answer.body for sign in ANSWERS) for answer in answers)
        report.exactly("requests upstream beyond those answered in full", calls - whole)
        chance = random.Random(seed)
        pieces = [garbage.make(chance, stage.key) for _ in range(raw)]
        taken = _judge_garbage(report, pieces, run(send_all(stage.port, [data for _, data in pieces])))
        report.exactly("other improper HTTP that reached upstream", len(stage.fake.calls()) - calls - taken)
        after = run(swarm(stage.port, stage.key, [Ask() for _ in range(20)], 4))
        report.exactly("good requests answered afterwards, of 20", sum(one.status == 200 for one in after), 20)
        report.exactly("workers that ended", len(set(workers) - set(stage.server.workers())))
        open_ones = still_open(stage.settled(lambda records: len(records) > 0))
        report.none_of("records still open", [str(record["id"]) for record in open_ones])
        report.none_of(
            "exceptions in the log", [line for line in stage.server.log().splitlines() if "Traceback" in line]
        )
    return report


def _judge_requests(report: Report, asked: list[Request], answers: list[Answer]) -> None:
    pairs = list(zip(asked, answers, strict=True))
    report.told("by kind", ", ".join(f"{kind} {n:,}" for kind, n in sorted(Counter(r.kind for r in asked).items())))
    report.told("by status", ", ".join(f"{s} {n:,}" for s, n in sorted(Counter(a.status for a in answers).items())))
    report.none_of("answers with a 5xx", [_evidence(r, a) for r, a in pairs if a.status >= 500])
    report.none_of("answers that are no JSON", [_evidence(r, a) for r, a in pairs if not _proper(r, a)])
    report.none_of("requests without an answer", [_evidence(r, a) for r, a in pairs if a.status == 0])
    report.told("p99 of an answer", f"{percentile((a.seconds for a in answers), 0.99) * 1000:.0f} ms")


def _judge_garbage(report: Report, pieces: list[tuple[str, bytes]], answers: list[Answer]) -> int:
    """How many were taken for good, with line ends that a server may take."""
    pairs = [(Request(kind, body=data), answer) for (kind, data), answer in zip(pieces, answers, strict=True)]
    report.told("improper HTTP, by status", ", ".join(f"{s or 'closed'} {n:,}" for s, n in _statuses(answers)))
    wrong = [_evidence(r, a) for r, a in pairs if a.status and not (400 <= a.status < 500 or a.status in (501, 505))]
    report.none_of("improper HTTP not refused", [e for e in wrong if not e.startswith(BARE_LF)])
    taken = sum(evidence.startswith(BARE_LF) for evidence in wrong)
    report.told("bare LF read as RFC 9112 allows (2.2), not refused", str(taken))
    report.none_of("improper HTTP refused without JSON", [_evidence(r, a) for r, a in pairs if not _proper(r, a)])
    report.none_of("improper HTTP neither answered nor closed", [_evidence(r, a) for r, a in pairs if a.hung])
    return taken


def _statuses(answers: list[Answer]) -> list[tuple[int, int]]:
    return sorted(Counter(answer.status for answer in answers).items())


def _proper(request: Request, answer: Answer) -> bool:
    """Whether it is what every client of the API can read."""
    if answer.status == 0 or (request.method == "HEAD" and not answer.body):
        return True
    if answer.status == 200 and answer.kind.startswith("text/event-stream"):
        return answer.body.endswith(ENDS)
    try:
        value = json.loads(answer.body)
    except ValueError:
        return False
    if answer.kind != "application/json":
        return False
    native = value.get("type") == "error" and value["error"].keys() >= {"type", "message"}
    return answer.status < 400 or native or value["error"].keys() == ERROR


def _evidence(request: Request, answer: Answer) -> str:
    sent = f"{request.method} {request.path[:80]!r} {request.headers!r:.300} {request.body[:300]!r}"
    return KEY.sub("KEY", f"{request.kind}: {sent} → {answer.status} {answer.kind} {answer.body[:200]!r}")


async def send_all(port: int, requests: list[bytes]) -> list[Answer]:
    """Each on a connection of its own, and whatever is answered."""
    answers, waiting = [Answer() for _ in requests], iter(enumerate(requests))

    async def work() -> None:
        for number, data in waiting:
            answers[number] = await _exchange(port, data)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return answers


async def _exchange(port: int, data: bytes) -> Answer:
    """Sends it on a connection of its own and reads until its end."""
    started, received, hung = time.monotonic(), b"", False
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    with contextlib.suppress(OSError):
        writer.write(data)
        try:
            async with asyncio.timeout(SILENCE):
                received = await reader.read(1 << 16)
        except TimeoutError:
            writer.write_eof()
        try:
            async with asyncio.timeout(PATIENCE):
                while more := await reader.read(1 << 16):
                    received += more
        except TimeoutError:
            hung = True
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    answer = _parsed(received)
    answer.hung, answer.seconds = hung and not received, time.monotonic() - started
    return answer


def _parsed(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    if not head:
        return Answer()
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = _unchunked(body)
    return Answer(int(first.split()[1]), headers.get("content-type", ""), head, body)


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + rest[:length], rest[length + 2 :] if length else b""
    return whole

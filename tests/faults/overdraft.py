"""Proofs of budgets with a real server: none is overspent, whatever fits is let through, and kills cost nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.faults.kills import _under_load
from tests.faults.load import Ask, Client, Seen, run, swarm
from tests.faults.report import Report, not_installed
from tests.faults.stage import Stage, still_open
from tests.live import until
from tests.postgres import Postgres, binaries

DOLLAR = 10**9
MODELS = ("claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5")
INPUT_NANOS, OUTPUT_NANOS = 2_000, 10_000  # a token of claude-sonnet-5-5
CLIENTS = 200


@dataclass(slots=True)
class Priced(Ask):
    """A request of any model and size."""

    model: str = MODELS[0]
    max_tokens: int = 100
    size: int = 0

    def body(self) -> bytes:
        message = {"role": "user", "content": f"{'x' * self.size} [id:{self.name}] {self.text}"}
        body = {"model": self.model, "max_tokens": self.max_tokens, "messages": [message], "user": self.name}
        return json.dumps({**body, "stream": self.stream}).encode()


def overdraft(runs: int, workers: int = 4, seed: int = 1, postgresql: bool = False) -> Report:
    if postgresql and not binaries():
        return not_installed("PostgreSQL")
    report = Report(
        f"{runs} × {CLIENTS} requests at once on a budget of $1, prices and sizes at random; {workers} workers, "
        f"{'PostgreSQL' if postgresql else 'SQLite'}; seed {seed}"
    )
    chance, over, odd, unfit = random.Random(seed), list[str](), list[str](), list[str]()
    served = refused = 0
    with _stage(workers, postgresql) as stage:
        for number in range(runs):
            key = stage.server.issue_key("acme", f"run {number}", "--budget", "1:total")
            with _most(stage, number) as most:
                seen = run(swarm(stage.port, key, [_random(chance) for _ in range(CLIENTS)], CLIENTS))
                _settled(stage)
                unfit += run(_fill(stage, key))
                _settled(stage)
            served += sum(one.status == 200 for one in seen)
            refused += sum(one.status == 429 for one in seen)
            odd += [f"{one.status} {one.end} {one.body[:200]!r}" for one in seen if one.status not in (200, 429)]
            over += [f"run {number}: {most[0]}"] if most[0] > DOLLAR else []
            odd += _disagreements(stage, number)
    report.told("requests served", served)
    report.told("requests refused", refused)
    report.at_least("refused at least once in a run", refused, runs)
    report.none_of("runs in which spent and held were ever above $1", over)
    report.none_of("refusals of what fits, and grants of more", unfit)
    report.none_of("other answers, and sums that are not those of the records", odd)
    return report


def killed(count: int, clients: int = 24, seed: int = 1, postgresql: bool = False) -> Report:
    if postgresql and not binaries():
        return not_installed("PostgreSQL")
    report = Report(
        f"{count} SIGKILLs of a random worker of 2 while {clients} clients ask with a key that has budgets, "
        f"{'PostgreSQL' if postgresql else 'SQLite'}; seed {seed}"
    )
    with _stage(2, postgresql) as stage:
        stage.key = stage.server.issue_key("acme", "budgeted", "--budget", "1000:total")
        seen = run(_under_load(stage, count, clients, random.Random(seed)))
        until(lambda: len(stage.server.workers()) == stage.workers, 10, "the return of the workers")
        records = _settled(stage)
        calls = stage.fake.calls()
        spent, held = _sums(stage, 0)
    cost = sum(record["cost_nanos"] or 0 for record in records)
    texts = {one.ask.name: one.ask.text for one in seen}
    known = [call for call in calls if call.get("marker") in texts]
    billed = sum(call["tokens"] * OUTPUT_NANOS + INPUT_NANOS for call in known)
    report.told("requests", len(seen))
    report.told("requests that upstream heard", len(calls))
    report.at_least("records, to requests that upstream heard", len(records), len(calls))
    report.exactly("records with an id of another", len(records) - len({record["id"] for record in records}))
    report.none_of("records left open", still_open(records))
    report.exactly("nano-dollars held in the end", held)
    report.exactly("nano-dollars spent beside the sum of the records' costs", spent - cost)
    report.told("sum of the costs, to what upstream billed", f"{cost:,} to {billed:,} nano-dollars")
    report.exactly("nano-dollars billed above the costs", max(billed - cost, 0))
    report.told("interrupted", sum(record["state"] == "interrupted" for record in records))
    return report


@contextlib.contextmanager
def _stage(workers: int, postgresql: bool) -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        env = {"DATABASE_URL": stack.enter_context(Postgres()).url} if postgresql else {}
        yield stack.enter_context(Stage(workers, MAX_IN_FLIGHT="1000", **env))


def _random(chance: random.Random) -> Priced:
    most = chance.randrange(50, 4000)
    tokens, first = chance.randrange(1, most), chance.uniform(0, 0.3)
    text = f"[fault:ok tokens={tokens} first={first:.2f}]"
    return Priced(
        text, chance.random() < 0.5, model=chance.choice(MODELS), max_tokens=most, size=chance.randrange(8000)
    )


async def _fill(stage: Stage, key: str) -> list[str]:
    """Asks for too much, then for more than the refusal says would fit, and for that: until nothing fits.

    By two tokens more: a number with fewer digits makes the request a byte shorter, which is less than a token's price.
    """
    wrong, client = list[str](), Client(stage.port, key)
    for _ in range(3):
        refusal = await client.ask(Priced("[fault:ok tokens=1]", False, name="probe", max_tokens=128_000))
        fits = _fits(refusal)
        if refusal.status != 429 or not fits:
            break
        more = await client.ask(Priced("[fault:ok tokens=1]", False, name="probe", max_tokens=fits + 2))
        just = await client.ask(Priced("[fault:ok tokens=1]", False, name="probe", max_tokens=fits))
        if (more.status, just.status) != (429, 200):
            wrong.append(f"{fits} should fit: {just.status}, two more: {more.status} {just.body[:300]!r}")
        await asyncio.to_thread(_settled, stage)
    await client.close()
    return wrong


def _fits(refusal: Seen) -> int:
    said = refusal.body.decode().partition("max_tokens ≤ ")[2]
    return int(said.split()[0]) if said else 0


def _sums(stage: Stage, number: int) -> tuple[int, int]:
    """Spent and held of the budget that was given as the n-th."""
    rows = stage.server._rows("SELECT id FROM tenants_budget ORDER BY id")
    if number >= len(rows):
        return 0, 0
    query = f"SELECT spent_nanos, reserved_nanos FROM tenants_budgetwindow WHERE budget_id = {int(rows[number]['id'])}"
    found = stage.server._rows(query)
    return (found[0]["spent_nanos"], found[0]["reserved_nanos"]) if found else (0, 0)


@contextlib.contextmanager
def _most(stage: Stage, number: int) -> Iterator[list[int]]:
    """The most that the budget had spent and held together at any look."""
    most, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            most[0] = max(most[0], sum(_sums(stage, number)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


def _settled(stage: Stage) -> list[dict[str, Any]]:
    """All records once nothing is held any more, or as they are after a while."""

    def quiet() -> bool:
        held = stage.server._rows("SELECT sum(reserved_nanos) AS held FROM tenants_budgetwindow")[0]["held"]
        return not held and not still_open(stage.server.records())

    with contextlib.suppress(TimeoutError):
        until(quiet, 30)
    return stage.server.records()


def _disagreements(stage: Stage, number: int) -> list[str]:
    spent, held = _sums(stage, number)
    rows = stage.server._rows("SELECT id, key_id FROM tenants_budget ORDER BY id")
    key_id = str(rows[number]["key_id"]).replace("-", "")
    mine = [one for one in stage.server.records() if one["key_id"].replace("-", "") == key_id]
    cost = sum(one["cost_nanos"] or 0 for one in mine)
    return [] if (spent, held) == (cost, 0) else [f"run {number}: spent {spent}, records {cost}, held {held}"]

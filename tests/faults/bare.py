"""Proof: a process that journals, holds and settles is killed at any moment, and money and records come out right.

    python -m tests.faults.bare KILLS SEED      (in an environment with a database of its own)

Two processes at a time do nothing but that: no server, no HTTP. Each is killed after some hundredths of a second; what
one leaves behind the next ones recover. "Upstream" is a file that each appends to when it has sent a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.faults.aside import aside
from tests.faults.report import Report, not_installed
from tests.postgres import binaries

SECONDS = 3000
AT_ONCE = 2
RUNNING = 6  # requests at a time in each process


def bare(kills: int, seed: int = 1, postgresql: bool = False) -> Report:
    if postgresql and not binaries():
        return not_installed("PostgreSQL")
    found = aside("tests.faults.bare", kills, seed, seconds=SECONDS, postgresql=postgresql)
    report = Report(
        f"{found['kills']:,} SIGKILLs of processes that only journal, hold and settle, {AT_ONCE} at a time, on "
        f"{found['vendor']}; seed {seed}"
    )
    report.told("requests", found["records"])
    report.told("sent upstream", found["sent"])
    report.told("interrupted", found["interrupted"])
    report.exactly("requests without a record", found["lost"])
    report.exactly("rows that a replay of the journal, three times, changed", found["replayed"])
    report.exactly("nano-dollars held in the end", found["held"])
    report.exactly("holds in the end", found["holds"])
    report.exactly("nano-dollars spent beside the sum of the records' costs", found["spent"] - found["cost"])
    report.exactly("requests billed above their record's cost", found["undercharged"])
    report.exactly("nano-dollars billed above the costs", max(found["billed"] - found["cost"], 0))
    report.told("holds that only the lease ended", found["lapsed"])
    return report


# In that process


def main(kills: int, seed: int) -> dict[str, Any]:
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    from tenants.models import ApiKey, Budget, Tenant

    call_command("migrate", verbosity=0)
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    key = ApiKey.objects.issue(tenant, "load", peppers=settings.KEY_PEPPERS).row
    for owner, window in ((tenant, "total"), (tenant, "month"), (key, "day")):
        Budget.objects.give(owner, window, 10**15)
    rules, vendor = Budget.objects.rules_of(key), connection.vendor
    columns = {"tenant_id": tenant.pk, "key_id": str(key.pk), "mode": "live", "dialect": "chat"}
    connection.close()
    place = Path(settings.DATA_DIR)
    _kill(kills, random.Random(seed), lambda number: _work(place, rules, columns, seed * 100_000 + number))
    return {"vendor": vendor, "kills": kills, **_result(place)}


def _kill(kills: int, chance: random.Random, work: Any) -> None:
    number = 0
    while number < kills:
        started = {}
        for _ in range(min(AT_ONCE, kills - number)):
            number += 1
            if (pid := os.fork()) == 0:
                with contextlib.suppress(BaseException):
                    asyncio.run(work(number))
                os._exit(1)
            started[pid] = time.monotonic() + chance.uniform(0.03, 0.25)
        for pid, at in sorted(started.items(), key=lambda one: one[1]):
            time.sleep(max(0.0, at - time.monotonic()))
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            assert os.WIFSIGNALED(status), "a process ended by itself"


async def _work(place: Path, rules: Any, columns: dict[str, Any], seed: int) -> None:
    from tenants.budgets import Budgets
    from tenants.database import Database
    from tenants.journal import Journal
    from tenants.ledger import Ledger

    chance, database = random.Random(seed), Database(threads=2)
    journal = Journal(place / "journal")
    ledger, budgets = Ledger(journal, database, place / "journal"), Budgets(database)
    requests = [_requests(place, journal, budgets, rules, columns, chance) for _ in range(RUNNING)]
    await asyncio.gather(*requests, _flushes(ledger), budgets.run())


async def _flushes(ledger: Any) -> None:
    while True:
        await ledger.flush()
        await ledger.recover()
        await asyncio.sleep(0.01)


async def _requests(place: Path, journal: Any, budgets: Any, rules: Any, columns: Any, chance: random.Random) -> None:
    from tenants import ids
    from tenants.asks import Ask
    from tenants.budgets import BudgetsUnavailable
    from tenants.values import State

    while True:
        entry = journal.admit(ids.uuid7(), **columns)
        _note(place / "admitted", str(entry.id))
        held = chance.randrange(1, 10**6)
        ask = Ask(entry.id, ids.moment(entry.id), rules, held, 0, 1, 1)
        try:
            await budgets.reserve(ask)
        except BudgetsUnavailable:
            entry.close(state=State.REFUSED, status=503)
            await asyncio.sleep(0.005)
            continue
        entry.note(held_nanos=held)
        entry.sent(queue_us=1)
        cost = chance.randrange(0, held + 1)
        _note(place / "billed", f"{entry.id} {cost}")
        await asyncio.sleep(chance.uniform(0, 0.01))
        entry.close(state=State.SETTLED, status=200, cost_nanos=cost, usage_source="exact")


def _note(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def _result(place: Path) -> dict[str, Any]:
    from tenants import spending
    from tenants.models import Hold, RequestRecord

    replayed = _recover(place / "journal")
    spending.LAPSE_SECONDS = 0
    lapsed = 0
    while count := Hold.objects.lapse():
        lapsed += count
    costs = {str(pk): cost or 0 for pk, cost in RequestRecord.objects.values_list("pk", "cost_nanos")}
    admitted = (place / "admitted").read_text().split()
    billed = {line.split()[0]: int(line.split()[1]) for line in (place / "billed").read_text().splitlines()}
    spent, held, holds = _sums()
    return {
        "records": len(costs),
        "sent": len(billed),
        "interrupted": RequestRecord.objects.filter(state="interrupted").count(),
        "lost": len(set(admitted) - costs.keys()),
        "replayed": replayed,
        "spent": spent,
        "held": held,
        "holds": holds,
        "cost": sum(costs.values()),
        "billed": sum(billed.values()),
        "undercharged": sum(costs[one] < cost for one, cost in billed.items()),
        "lapsed": lapsed,
    }


def _sums() -> tuple[int, int, int]:
    """Spent (the same in each of the three windows), held, and the number of holds."""
    from tenants.models import BudgetWindow, Hold

    rows = list(BudgetWindow.objects.values_list("spent_nanos", "reserved_nanos"))
    spent = {sum(row[0] for row in rows) // 3} if len(rows) % 3 else {row[0] for row in rows}
    assert len(spent) == 1, rows
    return spent.pop(), sum(abs(row[1]) for row in rows), Hold.objects.count()


def _recover(folder: Path) -> int:
    """Stores what is left in the journal, three times; how many sums the second and third time changed."""
    from tenants import journal
    from tenants.ledger import write

    left = [orphan.rows for orphan in journal.orphans(folder)]
    before: Any = None
    changed = 0
    for _ in range(3):
        for rows in left:
            write(rows, {}, folder)
        changed += before is not None and before != _sums()
        before = _sums()
    return changed


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))

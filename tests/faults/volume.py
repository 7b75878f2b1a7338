"""Proof: the console stays quick, and an export's memory flat, over millions of requests.

Every page that a link or a filter of the console leads to is asked for again and again; the requests are seeded.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from html import unescape
from random import Random
from urllib.parse import urlencode

from tests.faults.report import Report, not_installed
from tests.faults.stage import resident
from tests.live import REPO, Server, until
from tests.postgres import Postgres, binaries

SEED_SECONDS = 3600
PAGE_MS, NEXT_MS, GROWTH_MB = 300, 20, 100
LIST = "/admin/tenants/requestrecord/"
EXPORTS = f"{LIST}exports/"
SECTIONS = ("", "tenants/tenant/", "tenants/apikey/", "tenants/budget/", "tenants/modelalias/", "tenants/modelprice/",
            "tenants/auditevent/", "tenants/user/", "tenants/requestrecord/exports/")  # fmt: skip
# Signs someone in without a browser: the key of a session that is theirs.
SIGN_IN = """
from importlib import import_module
from django.conf import settings
from tenants.models import User
name = {"username": "alice-of-the-proof"}
alice = User.objects.filter(**name).first() or User.objects.create_superuser(**name, password="a long enough sentence")
session = import_module(settings.SESSION_ENGINE).SessionStore()
session.update({"_auth_user_id": str(alice.pk), "_auth_user_backend": settings.AUTHENTICATION_BACKENDS[0],
                "_auth_user_hash": alice.get_session_auth_hash()})
session.create()
print(session.session_key)
"""
# What the database alone takes for the page after a random one, newest first, of each of these filters.
NEXT_PAGES = """
import random, sys, time
from tenants import reports
from tenants.models import ApiKey, RequestRecord, Tenant
dice, rows = random.Random(1), RequestRecord.objects
newest, oldest = rows.order_by("-pk")[0].pk.int, rows.order_by("pk")[0].pk.int
tenant, key = Tenant.objects.order_by("-pk")[0], ApiKey.objects.order_by("-pk")[0]
filters = [rows.all(), rows.filter(tenant=tenant), rows.filter(key=key), rows.filter(model="claude-opus-5")]
times = []
for _ in range(int(sys.argv[-1]) if sys.argv[-1].isdigit() else 200):
    import uuid
    before = uuid.UUID(int=dice.randint(oldest, newest))
    started = time.perf_counter()
    reports.page(reports.with_names(dice.choice(filters)), 50, before=before)
    times.append((time.perf_counter() - started) * 1000)
times.sort()
print(times[len(times) // 2], times[int(len(times) * 0.95)])
"""


def volume(count: int, rounds: int, leeway: int = 1, postgresql: bool = False) -> Report:
    """`leeway` is how many times the limits a page may take: a sample runs on machines that do other things too."""
    if postgresql and not binaries():
        return not_installed("PostgreSQL")
    with contextlib.ExitStack() as stack:
        env = {"DATABASE_URL": stack.enter_context(Postgres()).url} if postgresql else {}
        server = stack.enter_context(Server({"UPSTREAM": "sandbox", **env}, workers=1))
        started = time.monotonic()
        command = [sys.executable, str(REPO / "manage.py"), "seed_records", str(count), "--force"]
        subprocess.run(command, cwd=REPO, env=server.env, check=True, capture_output=True, timeout=SEED_SECONDS)
        report = measured(server, rounds, count, leeway)
        report.ran = f"{count:,} requests on {'PostgreSQL' if postgresql else 'SQLite'}, {report.ran}"
        report.told("all of it, with making the requests", f"{time.monotonic() - started:.0f} s")
        return report


def measured(server: Server, rounds: int, count: int, leeway: int = 1) -> Report:
    """The figures of a server that has so many requests."""
    with contextlib.closing(Console(server)) as console:
        return _measured(server, console, rounds, count, leeway)


def _measured(server: Server, console: Console, rounds: int, count: int, leeway: int) -> Report:
    pages = list(console.pages())
    report = Report(f"{len(pages)} pages and filters of the console, each {rounds} times")
    times: dict[str, list[float]] = {page: [] for page in pages}
    dice = Random(1)
    for turn in range(rounds + 1):
        for page in dice.sample(pages, len(pages)):
            took = console.get(page)
            if turn:  # the first time, nothing is in any cache
                times[page].append(took)
    every = sorted(took for each in times.values() for took in each)
    slowest = sorted(times, key=lambda page: -share(times[page], 0.95))
    report.told("p50 of all pages", f"{share(every, 0.5):.0f} ms")
    report.at_most("p95 of all pages", share(every, 0.95), PAGE_MS * leeway, " ms")
    report.at_most("p95 of the slowest page", share(times[slowest[0]], 0.95), PAGE_MS * leeway, " ms")
    half, most = (float(text) for text in server.manage("shell", "-c", NEXT_PAGES).split()[-2:])
    report.told("next page, from the database, anywhere in the list, p50", f"{half:.1f} ms")
    report.at_most("the same, p95", most, NEXT_MS * leeway, " ms")
    report.told("the slowest", ", ".join(f"{page} {share(times[page], 0.95):.0f} ms" for page in slowest[:5]))
    _export(server, console, count, report)
    return report


def _export(server: Server, console: Console, count: int, report: Report) -> None:
    (worker,) = server.workers()
    console.export(f"{LIST}export/?since=1h", "csv")  # what is loaded once is loaded
    before = _megabytes(worker)
    for form in ("csv", "jsonl"):
        started = time.monotonic()
        taken = console.export(f"{LIST}export/?since=all", form)
        took = time.monotonic() - started
        report.exactly(f"{form}: requests exported", taken.rows, count)
        report.told(f"{form}: a second", f"{taken.rows / took:,.0f} rows, {taken.bytes / took / 1e6:.1f} MB")
        report.at_most(
            f"{form}: growth of the worker's memory at its highest", taken.peak(worker, before), GROWTH_MB, " MB"
        )
        manifest = console.manifest()
        report.exactly(f"{form}: requests according to its manifest", int(str(manifest["rows"])), count)
        report.exactly(f"{form}: SHA-256 of the file is the manifest's", manifest["sha256"] == taken.sha256, 1)
    cut = console.text(EXPORTS).count("cut off")
    console.export(f"{LIST}export/?since=all", "jsonl", 10)
    until(lambda: console.text(EXPORTS).count("cut off") > cut, what="the word of an export that its client left")
    report.exactly("exports that their client left, told as cut off", console.text(EXPORTS).count("cut off") - cut, 1)


class Taken:
    def __init__(self) -> None:
        self.rows = self.bytes = 0
        self.highest = 0.0
        self._sha256 = hashlib.sha256()

    def add(self, part: bytes) -> None:
        self.rows += part.count(b"\n")
        self.bytes += len(part)
        self._sha256.update(part)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def peak(self, worker: int, before: float) -> float:
        return max(self.highest, _megabytes(worker)) - before


class Console:
    """Alice, signed in."""

    def __init__(self, server: Server) -> None:
        self._server = server
        session = server.manage("shell", "-c", SIGN_IN).split()[-1]
        self._http = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
        self._cookies = f"sessionid={session}; csrftoken={'c' * 32}"

    def close(self) -> None:
        self._http.close()

    def text(self, path: str) -> str:
        self._http.request("GET", path, headers={"Cookie": self._cookies})
        answer = self._http.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, (path, answer.status)
        return text

    def get(self, path: str) -> float:
        """In how many milliseconds the page was there."""
        started = time.perf_counter()
        self.text(path)
        return (time.perf_counter() - started) * 1000

    def pages(self) -> Iterator[str]:
        """Every section; the requests by each value of each filter, over a day and over all time, and further back;
        searches; and a page of one request, key and tenant."""
        yield from (f"/admin/{section}" for section in SECTIONS)
        listed = self.text(f"{LIST}?since=all")
        for name, values in _selects(listed).items():
            for value in values:
                yield f"{LIST}?{urlencode({name: value})}"
                yield f"{LIST}?{urlencode({'since': 'all', name: value})}"
        (older,) = re.findall(r'rel="next" href="([^"]+)"', listed)
        yield LIST + unescape(older)
        for model in ("requestrecord", "apikey", "tenant"):
            found = re.findall(rf'href="(/admin/tenants/{model}/[^/"]+/change/)', self.text(f"/admin/tenants/{model}/"))
            yield found[-1]
            if model == "requestrecord":
                yield f"{LIST}?q={found[-1].split('/')[-3]}"
        yield f"{LIST}?q=nothing-has-this-id"

    def export(self, path: str, form: str, most: float = float("inf")) -> Taken:
        """Reads all of it, or until there are so many rows, and goes."""
        worker, taken = self._server.workers()[0], Taken()
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=600)
        body = urlencode({"format": form, "csrfmiddlewaretoken": "c" * 32})
        head = {"Cookie": self._cookies, "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", path, body, head)
        answer = connection.getresponse()
        assert answer.status == 200, answer.status
        header = form == "csv"
        with contextlib.closing(connection):
            while taken.rows < most + header:
                if not (part := answer.read(1 << 20)):
                    break
                taken.add(part)
                taken.highest = max(taken.highest, _megabytes(worker))
        taken.rows -= header
        return taken

    def manifest(self) -> dict[str, object]:
        """That of the newest export."""
        self._http.close()  # the server may have done so by now
        found = re.search(rf'href="({EXPORTS}[^"]+\.json)"', self.text(EXPORTS))
        assert found is not None
        manifest: dict[str, object] = json.loads(self.text(found[1]))
        return manifest


def _selects(page: str) -> dict[str, list[str]]:
    """The filters of a list: the name of each and its values."""
    found = re.findall(r'<select name="([^"]+)"[^>]*>(.*?)</select>', page, re.S)
    return {name: [unescape(value) for value in re.findall(r'value="([^"]+)"', options)] for name, options in found}


def share(times: list[float], part: float) -> float:
    return sorted(times)[min(int(len(times) * part), len(times) - 1)]


def _megabytes(pid: int) -> float:
    return resident(pid) / 2**20

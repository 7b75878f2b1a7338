"""Proof: no key, and nothing that was said, is anywhere that it does not belong, whatever fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tenants.keys import mint
from tenants.values import Mode
from tests.faults import garbage
from tests.faults.canary import Canary, files, found, rows
from tests.faults.load import Ask, Seen, run, swarm
from tests.faults.malformed import Answer, send_all
from tests.faults.mistakes import mistakes
from tests.faults.nonsense import Nonsense
from tests.faults.report import Report
from tests.faults.scenarios import QUOTE, SCENARIOS
from tests.faults.stage import still_open
from tests.faults.table import Stand
from tests.faults.volume import LIST, SECTIONS, Console
from tests.live import until

PROMPT, ANSWER = (f"{name}{secrets.token_hex(12)}" for name in ("prompt", "answer"))
LONG = "[fault:ok tokens=200 rate=20]"
PAGES = 60  # of requests, at most
# A tenant with its own key to Anthropic, and one whose payloads are kept; both keep thinking.
TENANTS = """
from tenants.models import Tenant, UpstreamCredential
for tenant in Tenant.objects.filter(slug__in=["globex", "initech"]):
    tenant.thinking_vault, tenant.capture = True, "full" if tenant.slug == "initech" else "off"
    tenant.save()
UpstreamCredential.objects.put(Tenant.objects.get(slug="globex"), "OWN")
"""


@dataclass(slots=True)
class Told(Ask):
    """A request whose every text is the prompt's canary, and whose answer is the answer's."""

    def body(self) -> bytes:
        text = f"[id:{self.name}] [say:{ANSWER}] {PROMPT} {self.text}"
        messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": text}]
        look = {"name": "look", "description": PROMPT, "parameters": {"type": "object"}}
        more = {
            "max_tokens": 512,
            "user": self.name,
            "stop": [PROMPT],
            "tools": [{"type": "function", "function": look}],
        }
        body = {"model": "claude-sonnet-5-5", "messages": messages, "metadata": {"of": PROMPT}, **more}
        return json.dumps({**body, "stream": self.stream}).encode()


@dataclass(slots=True)
class Keys:
    """Anthropic's, and those that clients send: of each name one that is known, and two that are refused."""

    site: str = field(default_factory=lambda: _anthropic())
    own: str = field(default_factory=lambda: _anthropic())
    theirs: str = field(default_factory=lambda: _anthropic())
    clients: dict[str, str] = field(default_factory=dict)

    def issue(self, stand: Stand) -> None:
        self.clients = {"acme": stand.key, "revoked": stand.free_key, "unknown": mint(Mode.LIVE).text}
        self.clients["globex"] = stand.server.issue_key("globex", "own key")
        self.clients["initech"] = stand.server.issue_key("initech", "kept", "--idempotent")
        stand.server.manage("revoke_key", stand.free_key)
        stand.server.manage("shell", "-c", TENANTS.replace("OWN", self.own))

    def canaries(self) -> list[Canary]:
        """All of a key but its beginning, which says whose it is, and the last four characters."""
        upstream = {"the site's key": self.site, "a tenant's own key": self.own, "a caller's own key": self.theirs}
        return [
            *(Canary(name, text.removeprefix("sk-ant-api03-")[:-4]) for name, text in upstream.items()),
            *(Canary(f"the client key {name}", text.split("_")[2][8:-4]) for name, text in self.clients.items()),
        ]

    @property
    def asking(self) -> list[str]:
        """What clients send that is served."""
        return [self.clients["acme"], self.clients["globex"], self.clients["initech"], self.theirs]


def canaries(rounds: int, requests: int, seed: int = 1, header: str = "") -> Report:
    """`header`: one more on requests, for the test that plants a leak, which needs no `rounds` and no `requests`."""
    report = Report(
        f"{rounds} × every failure of upstream, whole and streamed, with a budgeted key, one whose tenant has a key of"
        f" its own, one whose payloads are kept, and one of Anthropic's; {requests:,} malformed requests and pieces of"
        f" improper HTTP, clients' mistakes, a locked database, a SIGKILL, a SIGTERM; 2 workers; seed {seed}"
    )
    keys, chance = Keys(), random.Random(seed)
    with Stand(2, ANTHROPIC_API_KEY=keys.site, ALLOW_CALLER_KEYS="on") as stand:
        keys.issue(stand)
        search = _Search(stand, keys)
        with stand.locked():
            asks = [Told("[fault:ok]", stream, header=header) for stream in (False, True)]
            search.answers += _asked(stand, keys.asking, asks)
        until(lambda: _all_served(stand), 10, "the return of the budgets")
        search.answers += _scenarios(stand, keys, rounds, header)
        search.raw += _malformed(stand, keys, requests, chance) if requests else []
        search.everything("while it runs")
        search.answers += run(_interrupted(stand, keys, search, _kill))
        until(lambda: not still_open(stand.server.records()), 20, "the recovery of what was killed")
        search.pages()
        search.answers += run(_interrupted(stand, keys, search, lambda stand: stand.server.stop()))
        search.everything("after the end")
        search.judge(report)
        used = {call["key"] for call in stand.fake.calls()}
        report.exactly(
            "keys that upstream got, of 3", len(used & {k[-4:] for k in (keys.site, keys.own, keys.theirs)}), 3
        )
        report.exactly(
            "ways to fail that were played", len({c["scenario"] for c in stand.fake.calls()}), len(SCENARIOS)
        )
    return report


class _Search:
    """Gathers what clients were told, and looks through it and through all that the server keeps."""

    def __init__(self, stand: Stand, keys: Keys) -> None:
        self._stand, self._keys = stand, keys.canaries()
        self._said = [Canary("the prompt", PROMPT), Canary("the answer", ANSWER)]
        self.answers: list[Seen] = []
        self.raw: list[Answer] = []
        self._found: list[str] = []
        self._sizes: dict[str, int] = {}

    def everything(self, when: str) -> None:
        """The log, the files and the rows."""
        folder, database = self._stand.server.folder, self._stand.server.data_dir / "bridge.sqlite3"
        for kind, places in (("bytes in files and logs", files(folder)), ("bytes in rows", rows(database))):
            listed = [(f"{place} {when}", data) for place, data in places]
            self._look(kind, listed)

    def pages(self) -> None:
        """The console's, and /metrics."""
        console, ids = Console(self._stand.server), [row["id"] for row in self._stand.server.records()]
        with contextlib.closing(console):
            paths = ["/metrics", *(f"/admin/{section}" for section in SECTIONS), *_linked(console, ids)]
            self._look("bytes in pages", [(f"page {path}", console.text(path).encode()) for path in paths])
        self._sizes["pages"] = len(paths)

    def judge(self, report: Report) -> None:
        heads = [(f"the head of a {one.status}", repr(one.headers).encode()) for one in self.answers]
        heads += [(f"a refusal {one.status}", one.head + one.body) for one in self.raw]
        bodies = [(f"an answer {one.status} to {one.ask.text}", one.body) for one in self.answers]
        refusals = [(name, body) for (name, body), one in zip(bodies, self.answers, strict=True) if one.status != 200]
        self._look("bytes in answers", [*heads, *refusals])
        self._found += found([*self._keys, self._said[0]], bodies)
        report.told("answers", len(self.answers) + len(self.raw))
        for what, size in self._sizes.items():
            report.told(f"{what} searched", size)
        heard = sum(ANSWER.encode() in one.body for one in self.answers)
        report.at_least("answers that said what they should", heard, 2 * len(SCENARIOS))
        payloads = self._stand.server._rows("SELECT count(*) AS n FROM tenants_payload")[0]["n"]
        report.at_least("payloads kept, encrypted", payloads, 2 * len(SCENARIOS))
        report.none_of("places where a key is, or what was said", sorted(set(self._found)))

    def _look(self, kind: str, places: list[tuple[str, bytes]]) -> None:
        self._sizes[kind] = self._sizes.get(kind, 0) + sum(len(data) for _, data in places)
        self._found += found([*self._keys, *self._said], places)


def _linked(console: Console, ids: list[str]) -> Iterator[str]:
    """The pages of some of the requests, and of every key, tenant and event, with what a tenant brings."""
    yield from (f"{LIST}{name}/change/" for name in ids[:: len(ids) // PAGES + 1])
    for model in ("apikey", "tenant", "auditevent"):
        listed = console.text(f"/admin/tenants/{model}/")
        for path in sorted(set(re.findall(rf'href="(/admin/tenants/{model}/[^/"]+/change/)', listed))):
            yield path
            if model == "tenant":
                yield path.replace("/change/", "/anthropic-key/")


def _scenarios(stand: Stand, keys: Keys, rounds: int, header: str) -> list[Seen]:
    texts = [
        f"[fault:{name}{' after=9' if 'after' in takes else ''}] {QUOTE}" for name, (_, takes) in SCENARIOS.items()
    ]
    texts += [f"[fault:status code={code}] {QUOTE}" for code in (400, 401, 402, 403, 404, 413, 429, 500, 504)]
    asks = [Told(text, stream, header=header) for text in texts for stream in (False, True)] * rounds
    return _asked(stand, keys.asking, asks)


def _asked(stand: Stand, asking: list[str], asks: list[Told]) -> list[Seen]:
    """With every key at once."""

    async def all_of_them() -> list[Seen]:
        swarms = [swarm(stand.port, key, asks, 24) for key in asking]
        return [one for seen in await asyncio.gather(*swarms) for one in seen]

    return run(all_of_them())


def _all_served(stand: Stand) -> bool:
    """By every worker, for these are enough to reach each."""
    return all(one.status == 200 for one in _asked(stand, [stand.key], [Told() for _ in range(12)]))


def _malformed(stand: Stand, keys: Keys, requests: int, chance: random.Random) -> list[Answer]:
    """With every key, known or not."""
    sent = list[bytes]()
    for key in (*keys.clients.values(), keys.theirs):
        nonsense = Nonsense(chance.randrange(1000), key)
        sent += [request.wire() for request in mistakes(key, PROMPT)]
        sent += [nonsense.next().wire() for _ in range(requests // 12)]
        sent += [garbage.make(chance, key)[1] for _ in range(requests // 12)]
    return run(send_all(stand.port, sent))


async def _interrupted(stand: Stand, keys: Keys, search: _Search, happens: Callable[[Stand], object]) -> list[Seen]:
    """What clients saw in whose answers something happened; what was on the disk in the middle is looked through."""
    asks = [Told(LONG, stream) for stream in (False, True)]
    before = len(stand.fake.calls())
    answers = [asyncio.create_task(swarm(stand.port, key, asks, 2)) for key in keys.asking]
    wanted = 2 * len(answers)
    await asyncio.to_thread(until, lambda: len(stand.fake.calls()) >= before + wanted, 10)
    await asyncio.to_thread(search.everything, "in mid-answer")
    await asyncio.to_thread(happens, stand)
    return [one for seen in await asyncio.gather(*answers) for one in seen]


def _kill(stand: Stand) -> None:
    for pid in stand.server.workers():
        os.kill(pid, signal.SIGKILL)


def _anthropic() -> str:
    return f"sk-ant-api03-{secrets.token_hex(24)}"

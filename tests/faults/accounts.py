"""Compares what clients saw, and what upstream heard, with the records: none missing, none twice, none made up."""

from __future__ import annotations

from tests.faults.load import End, Seen, counted
from tests.faults.report import Report
from tests.faults.stage import OPEN_STATES, Json, pseudonym, still_open

SUMMED = ("input_tokens", "cache_read_tokens", "output_tokens", "cost_nanos")
IMPROPER = (End.MUTE, End.CUT, End.UNANSWERED, End.HUNG)


def complete(seen: list[Seen], calls: list[Json], records: list[Json]) -> bool:
    """Whether there is a record of everything that a client or upstream knows of."""
    return not (_untold(seen, records) or _unheard(calls, records))


def all_served(report: Report, seen: list[Seen], records: list[Json], calls: list[Json], days: list[Json]) -> None:
    """Every request was answered in full, has one final record, and is in the days' sums."""
    no_errors(report, seen)
    proper_ends(report, seen)
    report.exactly("records", len(records), len(seen))
    compare(report, seen, records, calls)
    sums(report, records, days)


def compare(report: Report, seen: list[Seen], records: list[Json], calls: list[Json]) -> None:
    """Every request has one final record, and every record is of one of these requests.

    A request is found by the id that its client was told, and by its user, whose pseudonym is in the record once it
    was sent; `calls` is what the fake Anthropic heard.
    """
    ids, users = [record["id"] for record in records], [record["end_user"] for record in records if record["end_user"]]
    report.told("how they ended for their clients", counted(str(one.end) for one in seen))
    report.told("how they are recorded", counted(record["state"] for record in records))
    report.none_of("requests whose client knows an id without a record", _untold(seen, records))
    report.none_of("requests that upstream heard without a record", _unheard(calls, records))
    report.exactly("records twice", len(ids) - len(set(ids)) + len(users) - len(set(users)))
    asked = {pseudonym(_tenant(records), one.ask.name) for one in seen}
    report.none_of("records of nothing that was asked", sorted(set(users) - asked))
    report.none_of("records still open", [f"{record['id']} {record['state']}" for record in still_open(records)])
    report.none_of("answers that clients have whole, but not recorded as settled", _unsettled(seen, records))


def sums(report: Report, records: list[Json], days: list[Json]) -> None:
    """The days' sums are those of the records."""
    final = [record for record in records if record["state"] not in OPEN_STATES]
    expected = {"requests": sum(record["count"] for record in final)}
    expected |= {name: sum(record[name] or 0 for record in final) for name in SUMMED}
    found = {name: sum(day[name] for day in days) for name in expected}
    wrong = [f"{name}: {found[name]} of {expected[name]}" for name in expected if found[name] != expected[name]]
    report.none_of("sums of the days that are not the records'", wrong)


def proper_ends(report: Report, seen: list[Seen]) -> None:
    """Every answer ended with all of it, or with an error that its client could read."""
    improper = [
        f"{one.end} {one.status} {one.id} {one.ask.text} {one.body[-80:]!r}" for one in seen if one.end in IMPROPER
    ]
    report.none_of("answers without a proper end", improper)


def no_errors(report: Report, seen: list[Seen]) -> None:
    report.none_of("errors", [f"{one.status} {one.body[-160:]!r}" for one in seen if one.end is End.ERROR])


def _tenant(records: list[Json]) -> int:
    return int(records[0]["tenant_id"]) if records else 0


def _untold(seen: list[Seen], records: list[Json]) -> list[str]:
    ids = {record["id"] for record in records}
    return [f"{one.id} {one.status} {one.body[-160:]!r}" for one in seen if one.id and one.id not in ids]


def _unheard(calls: list[Json], records: list[Json]) -> list[str]:
    tenant, users = _tenant(records), {record["end_user"] for record in records}
    return [str(call["marker"]) for call in calls if pseudonym(tenant, str(call["marker"])) not in users]


def _unsettled(seen: list[Seen], records: list[Json]) -> list[str]:
    states = {record["id"]: record["state"] for record in records}
    done = [one for one in seen if one.end is End.DONE]
    return [f"{one.id} {states.get(one.id)}" for one in done if states.get(one.id) != "settled"]

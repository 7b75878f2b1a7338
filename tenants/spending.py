"""What may be spent and what is: budgets, what each of their windows has spent and holds, and the holds themselves.

    Budget          a limit of a tenant or a key, for a day, week, month or in all
    BudgetWindow    one such day, week or month: `spent` for good, `reserved` for calls in flight
    Hold            what one request reserves in one window until its record is final
    Holder          a process that has holds, and when it was last seen alive

The sum of a window's open holds is its `reserved_nanos`, always: both change in one transaction. Windows are locked and
changed in the order of their ids, holds before windows, so that no two transactions wait for each other.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from django.db import DatabaseError, models, transaction
from django.db.models import F, Q, Sum, Value
from django.db.models.functions import Now
from django.utils import timezone

from tenants import bulk, windows
from tenants.alerts import Alert, threshold_reached
from tenants.asks import Ask, Standing, Verdict
from tenants.installation import GateModel, GateQuerySet
from tenants.records import RequestRecord
from tenants.values import OPEN_STATES, BudgetRule, Mode, State
from tenants.windows import WINDOWS

if TYPE_CHECKING:
    from tenants.models import ApiKey

LAPSE_SECONDS = 300  # a holder not seen for so long is taken for dead
LAPSE_BATCH = 500
MOST_NANOS = 10**9 * 10**9  # a billion dollars: what spent and held add up to still fits in 64 bits

_HELD = ("request_id", "part", "amount_nanos")


class BudgetQuerySet(GateQuerySet):
    def active(self) -> BudgetQuerySet:
        found: BudgetQuerySet = self.filter(removed_at=None)
        return found

    def of(self, key: ApiKey) -> BudgetQuerySet:
        """Those a request of this key has to fit in: its own and its tenant's."""
        found: BudgetQuerySet = self.active().filter(Q(key=key) | Q(key=None, tenant=key.tenant_id)).order_by("pk")
        return found

    def rules_of(self, key: ApiKey) -> tuple[BudgetRule, ...]:
        """The same as the gate remembers them; none for a test key, which costs nothing."""
        if key.mode == Mode.TEST:
            return ()
        return tuple(budget.as_rule(key.tenant.time_zone) for budget in self.of(key))

    def give(self, owner: Any, window: str, limit_nanos: int, by: object = "") -> Budget:
        """A new budget of this tenant or of this key."""
        of_key = hasattr(owner, "tenant")
        budget: Budget = self.create(
            tenant=owner.tenant if of_key else owner,
            key=owner if of_key else None,
            window=window,
            limit_nanos=limit_nanos,
            created_by=str(by),
        )
        return budget


class Budget(GateModel):
    """The most that a tenant, or one of its keys, may spend in each window. Removed ones keep their history."""

    tenant = models.ForeignKey("tenants.Tenant", models.CASCADE, related_name="budgets")
    key = models.ForeignKey("tenants.ApiKey", models.CASCADE, null=True, blank=True, related_name="budgets")
    window = models.CharField(max_length=5, choices=[(name, name) for name in WINDOWS])
    limit_nanos = models.PositiveBigIntegerField(help_text="Nano-dollars.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.CharField(max_length=150, blank=True, editable=False)
    removed_at = models.DateTimeField(null=True, blank=True, editable=False)
    removed_by = models.CharField(max_length=150, blank=True, editable=False)

    objects: ClassVar[Any] = models.Manager.from_queryset(BudgetQuerySet)()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.scope} budget, {self.window}"

    @classmethod
    def audit_subject(cls, row: dict[str, Any]) -> Mapping[str, Any]:
        scope = "key" if row["key_id"] else "tenant"
        return {**super().audit_subject(row), "label": f"{scope} budget, {row['window']}"}

    @property
    def scope(self) -> str:
        return "key" if self.key_id else "tenant"

    def as_rule(self, time_zone: str) -> BudgetRule:
        return BudgetRule(self.pk, self.scope, self.window, time_zone)

    def change(self, limit_nanos: int) -> None:
        """Another limit, from the next request on. Below what is spent it just refuses."""
        self.limit_nanos = limit_nanos
        self.save(update_fields=["limit_nanos"])

    def remove(self, reason: str = "", by: object = "") -> None:
        """Holds nobody from now on (within a second on every worker); what is held is still settled."""
        if self.removed_at is None:
            self.removed_at, self.removed_by = timezone.now(), str(by)
            self.save(update_fields=["removed_at", "removed_by"], action="budget.removed", reason=reason)


@dataclass(slots=True)
class Change:
    """What a window's sums change by, in nano-dollars."""

    spent: int = 0
    reserved: int = 0


class BudgetWindowQuerySet(models.QuerySet["BudgetWindow"]):
    def locked(self, wanted: set[tuple[int, date]]) -> dict[tuple[int, date], BudgetWindow]:
        """Those of these (budget, first day) that exist, with their budget, locked in the order of their ids."""
        budgets, days = {budget for budget, _ in wanted}, {day for _, day in wanted}
        rows = (
            self.filter(budget_id__in=budgets, first_day__in=days)
            .select_related("budget")
            .select_for_update(of=("self",), no_key=True)
            .order_by("pk")
        )
        found = {(row.budget_id, row.first_day): row for row in rows}
        return {key: row for key, row in found.items() if key in wanted}

    def standings(self, rules: Sequence[BudgetRule], at: datetime) -> list[Standing]:
        """How these budgets stand in the windows open at that moment."""
        limits = dict(Budget.objects.filter(pk__in=[rule.id for rule in rules]).values_list("pk", "limit_nanos"))
        days = {rule.id: windows.first_day(rule.window, at, rule.time_zone) for rule in rules}
        rows = self.filter(budget_id__in=limits, first_day__in=set(days.values()))
        sums = {(row.budget_id, row.first_day): (row.spent_nanos, row.reserved_nanos) for row in rows}
        return [
            Standing(rule, days[rule.id], limits[rule.id], *sums.get((rule.id, days[rule.id]), (0, 0)))
            for rule in rules
            if rule.id in limits
        ]

    def begin(self, wanted: set[tuple[int, date]]) -> None:
        """Makes windows that are not there yet; two workers may do so at once."""
        known = set(Budget.objects.filter(pk__in={budget for budget, _ in wanted}).values_list("pk", flat=True))
        new = [self.model(budget_id=budget, first_day=day) for budget, day in sorted(wanted) if budget in known]
        self.bulk_create(new, ignore_conflicts=True)

    def out_of_step(self, repair: bool = False) -> list[tuple[BudgetWindow, int]]:
        """The windows whose sum is not that of their open holds, with what these come to; there should be none."""
        with transaction.atomic():
            found = list(self.select_related("budget__tenant").select_for_update(of=("self",)).order_by("pk"))
            held = dict(Hold.objects.filter(state=Hold.OPEN).values_list("window").annotate(Sum("amount_nanos")))
            wrong = [(each, held.get(each.pk, 0)) for each in found if each.reserved_nanos != held.get(each.pk, 0)]
            for window, nanos in wrong if repair else ():
                self.filter(pk=window.pk).update(reserved_nanos=nanos)
        return wrong

    def change(self, changes: Mapping[int, Change]) -> None:
        """Settles: changes the sums of these windows and decides, in the same transaction, who is to hear of it."""
        for pk in sorted(changes):
            change = changes[pk]
            self.filter(pk=pk).update(
                spent_nanos=F("spent_nanos") + change.spent, reserved_nanos=F("reserved_nanos") + change.reserved
            )
        risen = self.filter(pk__in=[pk for pk, change in changes.items() if change.spent > 0])
        sums = risen.values_list("pk", "spent_nanos", "budget__limit_nanos", "alerted")
        told_of = [pk for pk, spent, limit, alerted in sums if threshold_reached(spent, limit) > alerted]
        for window in self.filter(pk__in=told_of).select_related("budget__tenant", "budget__key").order_by("pk"):
            Alert.objects.raise_for(window)


class BudgetWindow(models.Model):
    """What a budget has spent, and holds, in the window that began on this local day."""

    budget = models.ForeignKey(Budget, models.CASCADE, related_name="windows")
    first_day = models.DateField()
    spent_nanos = models.BigIntegerField(default=0)
    reserved_nanos = models.BigIntegerField(default=0)
    alerted = models.PositiveSmallIntegerField(default=0, help_text="The highest percentage that was told of.")

    objects = models.Manager.from_queryset(BudgetWindowQuerySet)()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["budget", "first_day"], name="window_of_budget")]

    def __str__(self) -> str:
        return f"{self.budget} from {self.first_day}"

    def standing(self, rule: BudgetRule) -> Standing:
        return Standing(rule, self.first_day, self.budget.limit_nanos, self.spent_nanos, self.reserved_nanos)


class Held(NamedTuple):
    """A hold, as far as closing it goes."""

    pk: int
    request_id: uuid.UUID
    part: int
    window_id: int
    amount_nanos: int
    state: str


class HoldQuerySet(models.QuerySet["Hold"]):
    def reserve(self, holder: uuid.UUID, asks: Sequence[Ask], again: bool = False) -> list[Verdict]:
        """Decides these asks in order, in one transaction: each gets all of its holds or none.

        A window is touched once, however many of them want it. Asking `again` with the same ids changes nothing.
        """
        wanted = {key for ask in asks for key in ask.days()}
        for _ in range(2):
            with transaction.atomic():
                found = BudgetWindow.objects.locked(wanted)
                if wanted <= found.keys():
                    return self._reserve(holder, asks, found, again)
            BudgetWindow.objects.begin(wanted)
        with transaction.atomic():  # a budget is gone for good: it holds nobody
            return self._reserve(holder, asks, BudgetWindow.objects.locked(wanted), again)

    def _reserve(
        self, holder: uuid.UUID, asks: Sequence[Ask], found: Mapping[tuple[int, date], BudgetWindow], again: bool
    ) -> list[Verdict]:
        before = self._held_before(asks) if again else {}
        now = timezone.now()
        verdicts: list[Verdict] = []
        holds: list[dict[str, Any]] = []
        limits: dict[int, int] = {}
        for ask in asks:
            rows = {key: found[key] for key in ask.days() if key in found}
            verdict = before.get((ask.request_id, ask.part)) or _decide(ask, rows)
            verdicts.append(verdict)
            if verdict.tokens is None or (ask.request_id, ask.part) in before:
                continue
            for row in rows.values():
                row.reserved_nanos += verdict.nanos
                limits[row.pk] = row.budget.limit_nanos
                holds.append({"request_id": ask.request_id, "part": ask.part, "window_id": row.pk, "holder": holder,
                              "amount_nanos": verdict.nanos, "state": Hold.OPEN, "created_at": now})  # fmt: skip
        self._take(holds, limits)
        return verdicts

    def _held_before(self, asks: Sequence[Ask]) -> dict[tuple[uuid.UUID, int], Verdict]:
        """What a first run of the same unit has held already, its connection having died after the commit."""
        held = self.filter(request_id__in={ask.request_id for ask in asks})
        amounts = {(request_id, part): nanos for request_id, part, nanos in held.values_list(*_HELD)}
        known = {}
        for ask in asks:
            nanos = amounts.get((ask.request_id, ask.part))
            if nanos is not None:
                tokens = (nanos - ask.fixed_nanos) // ask.token_nanos if ask.token_nanos else ask.most
                known[ask.request_id, ask.part] = Verdict(tokens, nanos, ())
        return known

    def _take(self, holds: Sequence[Mapping[str, Any]], limits: Mapping[int, int]) -> None:
        """Writes the holds and adds them up. The lock made the order; the condition is what keeps the limit."""
        added: dict[int, int] = defaultdict(int)
        for hold in holds:
            added[hold["window_id"]] += hold["amount_nanos"]
        for pk in sorted(added):
            fits = Q(spent_nanos__lte=Value(limits[pk] - added[pk]) - F("reserved_nanos"))
            changed = BudgetWindow.objects.filter(fits, pk=pk).update(reserved_nanos=F("reserved_nanos") + added[pk])
            if changed != 1:
                raise DatabaseError("a budget's window changed under its lock")
        bulk.insert(holds, Hold)

    def release(self, parts: Iterable[tuple[uuid.UUID, int]]) -> None:
        """Gives up holds whose requests were never sent."""
        wanted = set(parts)
        with transaction.atomic():
            holds = self._locked(Q(request_id__in={request_id for request_id, _ in wanted}))
            self._close([hold for hold in holds if (hold.request_id, hold.part) in wanted], {})

    def settle(self, finals: Iterable[RequestRecord]) -> None:
        """Charges records that became final just now, in the transaction that makes them final."""
        records = {record.pk: record for record in finals}
        if records:
            self._close(self._locked(Q(request_id__in=records)), records)

    def lapse(self) -> int:
        """Charges the holds of processes not seen for long at their amount; returns how many. The record, should it
        come after all, corrects that."""
        with transaction.atomic():
            dead = Holder.objects.filter(seen_at__lt=Now() - Value(timedelta(seconds=LAPSE_SECONDS)))
            ids = list(dead.values_list("pk", flat=True))
            if not ids:
                return 0
            holds = self._locked(Q(holder__in=ids, state=Hold.OPEN), LAPSE_BATCH)
            records = RequestRecord.objects.exclude(state__in=OPEN_STATES).in_bulk({hold.request_id for hold in holds})
            self._close([hold for hold in holds if hold.request_id in records], records)
            self._charge([hold for hold in holds if hold.request_id not in records])
            still = self.filter(holder__in=ids, state=Hold.OPEN).values("holder")
            Holder.objects.filter(pk__in=ids).exclude(pk__in=still).delete()
        return len(holds)

    def _locked(self, which: Q, most: int | None = None) -> list[Held]:
        rows = self.filter(which).order_by("pk").select_for_update().values_list(*Held._fields)
        return [Held(*row) for row in rows[:most]]

    def _close(self, holds: Sequence[Held], records: Mapping[uuid.UUID, RequestRecord]) -> None:
        """Takes holds off their windows and, once for each record and window, puts its cost on."""
        changes: dict[int, Change] = defaultdict(Change)
        held: dict[tuple[uuid.UUID, int], int] = defaultdict(int)
        for hold in holds:
            change = changes[hold.window_id]
            if hold.state == Hold.OPEN:
                change.reserved -= hold.amount_nanos
            else:
                change.spent -= hold.amount_nanos
            held[hold.request_id, hold.window_id] += hold.amount_nanos
        for (request_id, window_id), nanos in held.items():
            if request_id in records:
                changes[window_id].spent += charge(records[request_id], nanos)
        BudgetWindow.objects.change(changes)
        self.filter(pk__in=[hold.pk for hold in holds]).delete()

    def _charge(self, holds: Sequence[Held]) -> None:
        changes: dict[int, Change] = defaultdict(Change)
        for hold in holds:
            changes[hold.window_id].reserved -= hold.amount_nanos
            changes[hold.window_id].spent += hold.amount_nanos
        BudgetWindow.objects.change(changes)
        self.filter(pk__in=[hold.pk for hold in holds]).update(state=Hold.LAPSED)


class Hold(models.Model):
    """An amount reserved in a window for one request. It goes when the request's record is final."""

    OPEN, LAPSED = "open", "lapsed"

    request_id = models.UUIDField()
    part = models.PositiveSmallIntegerField(default=0, help_text="Over 0: for what was sent again inside the request.")
    window = models.ForeignKey(BudgetWindow, models.CASCADE, related_name="holds")
    holder = models.UUIDField(db_index=True)
    amount_nanos = models.BigIntegerField()
    state = models.CharField(
        max_length=6,
        default=OPEN,
        choices=[(OPEN, OPEN), (LAPSED, LAPSED)],
        help_text="Lapsed: its process never came back, so the amount is charged until the record arrives.",
    )
    created_at = models.DateTimeField(default=timezone.now)

    objects = models.Manager.from_queryset(HoldQuerySet)()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["request_id", "part", "window"], name="hold_of_request")]

    def __str__(self) -> str:
        return f"{self.request_id}/{self.part}"


class HolderQuerySet(models.QuerySet["Holder"]):
    def see(self, holder: uuid.UUID) -> None:
        """It is alive, by the database's clock."""
        if not self.filter(pk=holder).update(seen_at=Now()):
            self.create(pk=holder, seen_at=Now())


class Holder(models.Model):
    """A process that has holds. Its row goes when it has been silent for long and nothing of it is left."""

    id = models.UUIDField(primary_key=True)
    seen_at = models.DateTimeField(db_index=True)

    objects = models.Manager.from_queryset(HolderQuerySet)()

    def __str__(self) -> str:
        return str(self.pk)


def charge(record: RequestRecord, held: int) -> int:
    """What a final record costs its budgets. Without a cost: nothing, unless it was sent and perhaps used something."""
    if record.cost_nanos is not None:
        return record.cost_nanos
    uncertain = record.state == State.INTERRUPTED or bool(record.usage_source)
    return held if record.queue_us is not None and uncertain else 0


def _decide(ask: Ask, rows: Mapping[Any, BudgetWindow]) -> Verdict:
    """As many tokens as fit in every one of its windows, if they are enough."""
    rules = {rule.id: rule for rule in ask.rules}
    standings = tuple(row.standing(rules[row.budget_id]) for row in rows.values())
    room = min((row.budget.limit_nanos - row.spent_nanos - row.reserved_nanos for row in rows.values()), default=None)
    if room is None:
        return Verdict(ask.most, ask.nanos(ask.most), standings)
    tokens = min(ask.most, (room - ask.fixed_nanos) // ask.token_nanos) if ask.token_nanos else ask.most
    if tokens < ask.least or ask.nanos(tokens) > room:
        return Verdict(None, ask.nanos(ask.least), standings)
    return Verdict(tokens, ask.nanos(tokens), standings)

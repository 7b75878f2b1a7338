"""What is asked of budgets before a request is sent, and what they say: frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from tenants import windows
from tenants.values import BudgetRule


@dataclass(frozen=True, slots=True)
class Ask:
    """A hold that a request wants on each of its budgets: `fixed_nanos` and, for every token of output, `token_nanos`.

    It is content with anything from `least` to `most` tokens. `part` numbers the holds of one request; all of them
    belong to the windows open at `at`, its admission.
    """

    request_id: UUID
    at: datetime
    rules: tuple[BudgetRule, ...]
    fixed_nanos: int
    token_nanos: int
    most: int
    least: int
    part: int = 0

    def nanos(self, tokens: int) -> int:
        return self.fixed_nanos + self.token_nanos * tokens

    def days(self) -> list[tuple[int, date]]:
        """The windows it is about: budget and first day."""
        return [(rule.id, windows.first_day(rule.window, self.at, rule.time_zone)) for rule in self.rules]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands in one of its windows, in nano-dollars."""

    rule: BudgetRule
    first_day: date
    limit: int
    spent: int
    held: int

    @property
    def left(self) -> int:
        return max(self.limit - self.spent - self.held, 0)

    @property
    def unspent(self) -> int:
        """What would be left if nothing were held for calls in flight."""
        return max(self.limit - self.spent, 0)

    @property
    def resets_at(self) -> datetime | None:
        return windows.end(self.rule.window, self.first_day, self.rule.time_zone)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`tokens`: how many are held for, or None: refused, and nothing is held. `standings`: as they were then."""

    tokens: int | None
    nanos: int
    standings: tuple[Standing, ...]

"""The site's own prices, on top of the built-in ones, which the composition root hands over at start."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

from tenants.installation import GateModel
from tenants.money import CLASSES, Factor, PriceRow, Rates, current, per_token

_NOT_NEGATIVE = MinValueValidator(Decimal(0))
_AT_LEAST_ONE = MinValueValidator(Decimal(1))

_built_in: list[Callable[[], Iterable[PriceRow]]] = []


def hand_over(built_in: Callable[[], Iterable[PriceRow]]) -> None:
    """Takes whoever knows the built-in prices: this app knows no models."""
    _built_in[:] = [built_in]


def built_in() -> list[PriceRow]:
    return [row for ask in _built_in for row in ask()]


def _dollars(help_text: str = "") -> models.DecimalField[Decimal, Decimal]:
    return models.DecimalField(max_digits=12, decimal_places=6, validators=[_NOT_NEGATIVE], help_text=help_text)


def _multiplier(help_text: str, **more: object) -> models.DecimalField[Decimal, Decimal]:
    return models.DecimalField(
        max_digits=6,
        decimal_places=3,
        validators=[_AT_LEAST_ONE],
        help_text=help_text,
        **more,  # type: ignore[arg-type]
    )


class ModelPrice(GateModel):
    """What a model costs this site from a moment on, in US dollars per million tokens."""

    audit_name = "price"

    model = models.CharField(max_length=200, help_text="As upstream names it, e.g. claude-sonnet-5-5.")
    starts_at = models.DateTimeField("from", default=timezone.now, help_text="UTC. Earlier requests keep their price.")
    input = _dollars()
    cache_write_5m = _dollars()
    cache_write_1h = _dollars()
    cache_read = _dollars()
    output = _dollars()
    long_above = models.PositiveIntegerField(
        null=True, blank=True, help_text="Input tokens above which a whole request costs more. Empty: never."
    )
    long_multiplier = _multiplier("How many times as much, then.", null=True, blank=True)
    fast_multiplier = _multiplier("Of speed: fast. Empty: not offered.", null=True, blank=True)
    us_multiplier = _multiplier("Of inference_geo: us.", default=Decimal("1.1"))
    web_search = models.DecimalField(
        max_digits=12, decimal_places=3, default=Decimal(10), validators=[_NOT_NEGATIVE], help_text="USD per thousand."
    )
    note = models.CharField(max_length=250, blank=True, help_text="Why: a contract, a new model.")

    class Meta:
        ordering = ["model", "-starts_at"]
        verbose_name = "price"
        constraints = [models.UniqueConstraint(fields=["model", "starts_at"], name="price_from")]

    def __str__(self) -> str:
        return f"{self.model} from {self.starts_at:%Y-%m-%d %H:%M} UTC"

    def clean(self) -> None:
        if (self.long_above is None) != (self.long_multiplier is None):
            raise ValidationError({"long_multiplier": "A limit and a multiplier belong together."})

    def as_row(self) -> PriceRow:
        rates = Rates.per_million({name: getattr(self, name) for name in CLASSES})
        multipliers = {"fast": self.fast_multiplier, "us": self.us_multiplier}
        return PriceRow(
            model=self.model,
            starts=self.starts_at,
            rates=rates,
            long_above=self.long_above,
            long=rates.times(_factor(self.long_multiplier)) if self.long_multiplier else None,
            factors={term: _factor(times) for term, times in multipliers.items() if times},
            web_search=per_token(self.web_search) * 1_000,
            origin="site's own",
        )


def _factor(times: Decimal) -> Factor:
    return Factor(Fraction(times), Fraction(times))


def own() -> list[PriceRow]:
    """The site's own prices, from the database."""
    return [price.as_row() for price in ModelPrice.objects.all()]


def effective(at: datetime) -> list[PriceRow]:
    """What every model costs at that moment: the site's own price once it has begun, or the built-in one."""
    listed, overrides = built_in(), own()
    names = dict.fromkeys([*(row.model for row in listed), *(row.model for row in overrides)])
    groups = ([[row for row in rows if row.model == name] for rows in (overrides, listed)] for name in names)
    found = (current(ours, at) or current(theirs, at) for ours, theirs in groups)
    return [row for row in found if row is not None]

"""How far someone who looks after a tenant may go: not beyond what the tenant itself has been given."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ObjectDoesNotExist

from tenants.limits import Unit
from tenants.models import Tenant
from tenants.money import to_nanos
from tenants.windows import WINDOWS

LIMITS = {"rpm": Unit.REQUESTS, "tpm": Unit.TOKENS, "concurrency": Unit.CONCURRENCY}


def check_limits(form: Any) -> None:
    """A key's limits, against those of its tenant. An empty one is the site's default, and needs no check."""
    if (tenant := _tenant(form)) is None:
        return
    most = {limit.unit: limit.limit for limit in tenant.own_limits("tenant", str(tenant.pk))}
    for field, unit in LIMITS.items():
        asked, ceiling = form.cleaned_data.get(field), most.get(unit)
        if field in form.fields and asked is not None and ceiling and not 0 < asked <= ceiling:
            form.add_error(field, f"At most {ceiling:,}: the limit of {tenant} itself.")


def check_budget(form: Any) -> None:
    """A key's budget, against every budget of its tenant over as long a time or longer."""
    tenant, asked = _tenant(form), form.cleaned_data.get("limit_usd")
    key = form.cleaned_data.get("key") if "key" in form.fields else form.instance.key
    if key is None and "key" in form.fields and not form.has_error("key"):
        form.add_error("key", "Choose a key. What the whole tenant may spend is set by an administrator.")
    window = form.cleaned_data.get("window") or form.instance.window
    if tenant is None or asked is None or window not in WINDOWS:
        return
    for budget in tenant.budgets.active().filter(key=None, window__in=WINDOWS[WINDOWS.index(window) :]):
        if to_nanos(asked) > budget.limit_nanos:
            most = f"${budget.limit_nanos / 10**9:,.2f}"
            form.add_error("limit_usd", f"At most {most}: the {budget.window} budget of {tenant} itself.")
            return


def _tenant(form: Any) -> Tenant | None:
    """The tenant that was chosen, or whose row it is."""
    if chosen := form.cleaned_data.get("tenant"):
        return chosen if isinstance(chosen, Tenant) else None
    try:
        found: Tenant | None = form.instance.tenant
    except ObjectDoesNotExist:
        return None
    return found

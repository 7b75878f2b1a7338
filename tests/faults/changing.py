"""Changes to keys and tenants from one process, so that a proof of many does not start Django for each.

Reads a command a line: `issue TENANT`, answered with a new key; `revoke KEY` (as `manage.py revoke_key` does it), `rpm
KEY N`, `suspend KEY` and `resume KEY`, answered with the time just before the change.
"""

from __future__ import annotations

import io
import os
import sys
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")


def main() -> None:
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from tenants.models import ApiKey, Tenant

    print("ready", flush=True)
    for line in sys.stdin:
        verb, text, *more = line.split()
        if verb == "issue":
            tenant, _ = Tenant.objects.get_or_create(slug=text, defaults={"name": text})
            print(ApiKey.objects.issue(tenant, "changing", peppers=settings.KEY_PEPPERS).key.text, flush=True)
            continue
        key = ApiKey.objects.select_related("tenant").get(secrets__public_id=text.split("_")[2][:8])
        began = time.time()
        match verb:
            case "revoke":
                call_command("revoke_key", text, stdout=io.StringIO())
            case "rpm":
                key.rpm = int(more[0])
                key.save(update_fields=["rpm"])
            case "suspend":
                key.tenant.suspend()
            case "resume":
                key.tenant.resume()
        print(began, flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python
"""Django's command line, with one-line errors for a bad environment."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from tenants import actors

    try:
        with actors.acting(actors.of_command(sys.argv)):
            execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"bridge: {error}")


if __name__ == "__main__":
    main()

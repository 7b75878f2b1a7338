"""The project's settings with everything kept in a folder of the test run's own."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("DATA_DIR", tempfile.mkdtemp(prefix="bridge-tests-"))
os.environ.setdefault("LOG_FORMAT", "text")

from proxysite.settings import *  # noqa: F403
from proxysite.settings import DATA_DIR, DATABASES

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if "sqlite" in str(DATABASES["default"]["ENGINE"]):
    # A file, not memory: the database executor's threads have connections of their own.
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}

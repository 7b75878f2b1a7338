"""The project's settings with everything kept in a folder of the test run's own."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("DATA_DIR", tempfile.mkdtemp(prefix="bridge-tests-"))
os.environ.setdefault("LOG_FORMAT", "text")

from proxysite.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

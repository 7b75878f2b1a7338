"""A virtual environment for each client, made on first use, and its script run in it against a server.

Made in `.venv-contract/<name>` from `requirements/<name>.txt` (or `<name>.package.json`, with npm) and kept until that
file changes. A client that cannot be installed in time is skipped, with the reason.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.live import REPO, Server

HERE = Path(__file__).resolve().parent
PLACE = REPO / ".venv-contract"
INSTALL_SECONDS, RUN_SECONDS = 180, 150

SANDBOX = "This answer comes from Bridge's sandbox, not from Claude. "
WEATHER = f"{SANDBOX}You said: city in 3 days: 22 degrees"  # how the sandbox ends the scripts' loop of tools

Results = dict[str, dict[str, Any]]


def run(name: str, server: Server) -> Results:
    """What the script scripts/<name> reports."""
    folder = installed(name)
    script = HERE / "scripts" / (f"{name}.py" if _in_python(name) else f"{name}.mjs")
    if not _in_python(name):  # node looks for packages beside the script
        script = Path(shutil.copy(script, folder))
    done = subprocess.run(
        [str(python(name)) if _in_python(name) else "node", str(script)],
        env=variables(server),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    assert done.returncode == 0, f"{script.name} ended with {done.returncode}:\n{done.stderr[-4000:]}"
    sys.stderr.write(done.stderr[-20_000:])
    results: Results = json.loads(done.stdout.strip().splitlines()[-1])
    return results


def standard_tests(name: str, script: str, server: Server, **env: str) -> dict[str, list[str]]:
    """The names of the tests in scripts/<script> by how they ended: passed, failed, error, skipped.

    "Skipped" includes those that are expected to fail. They run in the client's own environment and with none of this
    project's settings.
    """
    report = installed(name) / "report.xml"
    options = ["-q", "-c", os.devnull, "--noconftest", "-p", "no:cacheprovider", f"--junitxml={report}"]
    for scope in ("asyncio_default_test_loop_scope=session", "asyncio_default_fixture_loop_scope=session"):
        options += ["-o", scope]
    done = subprocess.run(
        [str(python(name)), "-m", "pytest", *options, "-o", "asyncio_mode=auto", str(HERE / "scripts" / script)],
        env=variables(server) | env,
        cwd=installed(name),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    assert done.returncode in (0, 1), done.stdout[-4000:] + done.stderr[-4000:]
    sys.stderr.write(done.stdout[-20_000:])
    ended: dict[str, list[str]] = {"passed": [], "failed": [], "error": [], "skipped": []}
    for one in ElementTree.parse(report).iter("testcase"):
        kind = next((part.tag for part in one if part.tag in ("failure", "error", "skipped")), "passed")
        ended["failed" if kind == "failure" else kind].append(str(one.get("name")))
    return ended


def variables(server: Server) -> dict[str, str]:
    """Nothing of the caller's own configuration: other keys and proxies must not get in the way."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {
        "BRIDGE_BASE_URL": server.base,
        "BRIDGE_API_KEY": server.test_key,
        "OPENAI_API_KEY": server.test_key,
        "OPENAI_BASE_URL": server.base,
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def python(name: str) -> Path:
    return installed(name) / "bin" / "python"


def installed(name: str) -> Path:
    """The client's folder, installed."""
    PLACE.mkdir(exist_ok=True)
    with (PLACE / f"{name}.lock").open("w") as lock:  # several tests at once may want it
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _installed(name, PLACE / name)


def _installed(name: str, folder: Path) -> Path:
    wanted = HERE / "requirements" / (f"{name}.txt" if _in_python(name) else f"{name}.package.json")
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == digest:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        for command in _commands(folder, wanted):
            subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except FileNotFoundError as problem:
        pytest.skip(f"{name} needs {problem.filename}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"{name} was not installed within {INSTALL_SECONDS} s")
    except subprocess.CalledProcessError as problem:
        pytest.skip(f"{name} could not be installed: {problem.stderr[-300:]}")
    stamp.write_text(digest)
    return folder


def _commands(folder: Path, wanted: Path) -> list[list[str]]:
    if wanted.suffix == ".json":
        shutil.copy(wanted, folder / "package.json")
        return [["npm", "install", "--no-fund", "--no-audit", "--loglevel=error"]]
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r"]
    return [[sys.executable, "-m", "venv", str(folder)], [*pip, str(wanted)]]


def _in_python(name: str) -> bool:
    return (HERE / "requirements" / f"{name}.txt").exists()


def said(results: Results, case: str) -> Any:
    """The value that a case came to. Fails with its error if it came to one."""
    outcome = results[case]
    assert "error" not in outcome, outcome["error"]
    return outcome["value"]

"""The house rules: who may import whom, how long a file may be, and what no file may say."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ("proxysite", "bridge", "tenants")
SOURCES = sorted(path for app in APPS for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts)
HTTP_CLIENTS = {"httpx", "aiohttp", "httpx_aiohttp", "requests", "urllib3"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> set[str]:
    """Dotted names of the modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def roots(path: Path) -> set[str]:
    return {module.split(".")[0] for module in imports(path)}


def files(*places: str) -> list[Path]:
    return [path for path in SOURCES if any(name(path).startswith(place) for place in places)]


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 40


@pytest.mark.parametrize("path", files("tenants/"), ids=name)
def test_tenants_knows_neither_the_bridge_nor_an_http_client(path: Path) -> None:
    clients = set() if path.name == "alert_sender.py" else HTTP_CLIENTS
    assert not roots(path) & ({"bridge"} | clients)


@pytest.mark.parametrize("path", files("bridge/"), ids=name)
def test_the_bridge_knows_nothing_of_the_site(path: Path) -> None:
    assert "proxysite" not in roots(path)


@pytest.mark.parametrize("path", files("bridge/"), ids=name)
def test_the_bridge_has_no_tables(path: Path) -> None:
    assert not [module for module in imports(path) if module.startswith(("django.db", "tenants.models"))]


@pytest.mark.parametrize("path", files("bridge/dialects/", "bridge/wire/"), ids=name)
def test_dialects_are_pure(path: Path) -> None:
    assert not roots(path) & (HTTP_CLIENTS | {"django", "rest_framework", "tenants", "asyncio", "time", "random"})
    ours = {module for module in imports(path) if module.startswith("bridge")}
    allowed = ("bridge.wire", "bridge.dialects", "bridge.errors", "bridge.catalog", "bridge.receipt")
    assert all(module == "bridge" or module.startswith(allowed) for module in ours)


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_the_upstream_the_sandbox_the_sender_of_alerts_and_single_sign_on_speak_http(path: Path) -> None:
    speak = ("bridge/upstream", "bridge/sandbox", "tenants/alert_sender", "proxysite/sso/provider")
    if not name(path).startswith(speak):
        assert not roots(path) & HTTP_CLIENTS


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_the_extra_for_single_sign_on_is_imported_by_nothing_else(path: Path) -> None:
    if not name(path).startswith("proxysite/sso/"):
        assert not roots(path) & {"mozilla_django_oidc", "jwt"}


@pytest.mark.parametrize("path", files("bridge/views.py"), ids=name)
def test_views_contain_no_if(path: Path) -> None:
    assert not [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.If | ast.IfExp)]


@pytest.mark.parametrize("path", files("tenants/admin/"), ids=name)
def test_the_console_does_not_aggregate(path: Path) -> None:
    assert not {"django.db.models.Sum", "django.db.models.Avg", "django.db.models.Max"} & imports(path)


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_has_one_job_and_says_which(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    if text.strip() and path.name not in ("apps.py", "urls.py"):
        assert ast.get_docstring(ast.parse(text)), "the first line says what the file is for"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_function_fits_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno <= 55, node.name


def test_no_model_is_recognised_by_its_name() -> None:
    rule = re.compile(r"""\.startswith\(\(?["']claude|["']claude-[a-z]+-\d""")
    assert [name(path) for path in files("bridge/") if rule.search(path.read_text())] == []


def test_the_repository_holds_no_secret() -> None:
    """Keys are written in pieces or made at run time, so that a scanner (or a reader) finds only real ones."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    rule = re.compile(rb"sk-bridge_(?:live|test)_[0-9A-Za-z]{46}|sk-ant-api\d\d-[0-9A-Za-z_-]{20}")
    paths = [ROOT / line for line in listed if line and (ROOT / line).is_file()]
    assert paths and [name(path) for path in paths if rule.search(path.read_bytes())] == []

"""All settings, read from the environment once (docs/settings.md lists every variable; so does .env.example)."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from proxysite import environment as env
from proxysite.sso import configured as sso
from tenants.limits import MOST, MOST_RUNNING, Unit

VERSION = "0.1.0"
BASE_DIR = Path(__file__).resolve().parent.parent
if (BASE_DIR / ".env").exists():
    env.env.read_env(BASE_DIR / ".env")

# --- Where things are kept ------------------------------------------------------------------------------------------

DATA_DIR = Path(env.read("DATA_DIR", str(BASE_DIR / "data"))).resolve()
JOURNAL_DIR = DATA_DIR / "journal"
LIMITS_DIR = DATA_DIR / "limits"
METRICS_DIR = DATA_DIR / "metrics"
DATABASE_URL = env.read("DATABASE_URL")
EMBEDDED_DATABASE = not DATABASE_URL
CAPTURE_MAX_BYTES = env.integer("CAPTURE_MAX_BYTES", 1024 * 1024, 1024, 32 * 1024 * 1024)
RETENTION_DAYS = env.optional_integer("RETENTION_DAYS", 1, 36_500)
THINKING_VAULT_HOURS = env.integer("THINKING_VAULT_HOURS", 8, 0, 72)

# --- Secrets --------------------------------------------------------------------------------------------------------


def _numbered(name: str, text: str) -> dict[int, bytes]:
    """`1:text,2:text` as {1: b"text", 2: b"text"}; the highest number is used for what is new."""
    try:
        pairs = [part.partition(":") for part in text.split(",")]
        numbered = {int(number): secret.encode() for number, _, secret in pairs}
    except ValueError:
        numbered = {}
    if not numbered or any(len(secret) < 32 for secret in numbered.values()):
        raise ImproperlyConfigured(
            f"{name} is not valid: it accepts 1:SECRET,2:SECRET… of at least 32 characters each."
        )
    return numbered


def _kept(name: str, text: str) -> dict[int, bytes]:
    """A secret that was made here is number 1."""
    return _numbered(name, text if env.read(name) else f"1:{text}")


SECRET_KEY = env.secret("SECRET_KEY", DATA_DIR, EMBEDDED_DATABASE)
KEY_PEPPERS = _kept("KEY_PEPPERS", env.secret("KEY_PEPPERS", DATA_DIR, EMBEDDED_DATABASE))
ENCRYPTION_KEYS = _kept("ENCRYPTION_KEYS", env.secret("ENCRYPTION_KEYS", DATA_DIR, EMBEDDED_DATABASE))


def _audit_keys() -> dict[int, bytes]:
    """A text alone is number 1, so that a first key needs no number."""
    text = env.secret("AUDIT_KEY", DATA_DIR, EMBEDDED_DATABASE)
    return _numbered("AUDIT_KEY", text if re.match(r"\d+:", text) else f"1:{text}")


AUDIT_KEYS = _audit_keys()

# --- Upstream -------------------------------------------------------------------------------------------------------

ANTHROPIC_API_KEY = env.read("ANTHROPIC_API_KEY")
ANTHROPIC_API_KEY_FILE = env.file_of("ANTHROPIC_API_KEY")
ALLOW_CALLER_KEYS = env.flag("ALLOW_CALLER_KEYS")
ANTHROPIC_BASE_URL = env.url("ANTHROPIC_BASE_URL", "https://api.anthropic.com")
ANTHROPIC_VERSION = env.read("ANTHROPIC_VERSION", "2023-06-01")
UPSTREAM = env.choice("UPSTREAM", "anthropic", ["anthropic", "sandbox"])
UPSTREAM_TRANSPORT = env.choice("UPSTREAM_TRANSPORT", "http1", ["http1", "aiohttp"])
UPSTREAM_DEADLINES = {  # of bridge.upstream.Deadlines
    "first_event": env.integer("UPSTREAM_FIRST_SECONDS", 60, 1, 3600),
    "silence": env.integer("UPSTREAM_SILENCE_SECONDS", 90, 1, 3600),
    "progress": env.integer("UPSTREAM_PROGRESS_SECONDS", 600, 1, 86_400),
    "total": env.integer("UPSTREAM_TOTAL_SECONDS", 1800, 1, 86_400),
}

# --- Serving --------------------------------------------------------------------------------------------------------

HOST = env.read("HOST", "0.0.0.0")
PORT = env.integer("PORT", 5000, 1, 65535)
WEB_CONCURRENCY = env.integer("WEB_CONCURRENCY", os.cpu_count() or 1, 1, 256)
MAX_IN_FLIGHT = env.integer("MAX_IN_FLIGHT", 2000, 1, 100_000)
DRAIN_SECONDS = env.integer("DRAIN_SECONDS", 30, 3, 3600)
JOURNAL_FSYNC = env.choice("JOURNAL_FSYNC", "1s", ["off", "1s", "each"])
MODELS_PAGE_SIZE = env.integer("MODELS_PAGE_SIZE", 20, 1, 1000)
METRICS_TOKEN = env.read("METRICS_TOKEN")
MAX_BODY_BYTES = 32 * 1024 * 1024  # Anthropic's own limit for a Messages request
MAX_BUFFERED_BYTES = 256 * 1024 * 1024  # request bodies held by one worker at a time
BODY_SECONDS = 30  # to send a body, plus what this many bytes a second allow for its size
SLOWEST_BODY = 64 * 1024

REDIS_URL = env.url("REDIS_URL", "", ("redis", "rediss", "unix"))
INSTANCES = env.integer("INSTANCES", 1, 1, 10_000)
LIMITS = env.choice("LIMITS", "enforce", ["enforce", "dark"])
DEFAULT_LIMITS = {
    "key": {
        Unit.REQUESTS: env.integer("DEFAULT_KEY_RPM", 0, 0, MOST),
        Unit.TOKENS: env.integer("DEFAULT_KEY_TPM", 0, 0, MOST),
        Unit.CONCURRENCY: env.integer("DEFAULT_KEY_CONCURRENCY", 0, 0, MOST_RUNNING),
    },
    "tenant": {
        Unit.REQUESTS: env.integer("DEFAULT_TENANT_RPM", 0, 0, MOST),
        Unit.TOKENS: env.integer("DEFAULT_TENANT_TPM", 0, 0, MOST),
        Unit.CONCURRENCY: env.integer("DEFAULT_TENANT_CONCURRENCY", 0, 0, MOST_RUNNING),
    },
}

PUBLIC_URL = env.url("PUBLIC_URL", "")
_public = urlsplit(PUBLIC_URL)
ALLOWED_HOSTS = env.items("ALLOWED_HOSTS") or [
    host for host in ("localhost", "127.0.0.1", "[::1]", _public.hostname) if host
]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []
CORS_ALLOW_ORIGINS = env.items("CORS_ALLOW_ORIGINS")
try:
    TRUSTED_PROXIES = [ipaddress.ip_network(network) for network in env.items("TRUSTED_PROXIES")]
except ValueError as _error:
    raise ImproperlyConfigured(
        f"TRUSTED_PROXIES is not valid: {_error}; it accepts addresses and CIDR ranges."
    ) from None

# --- Django ---------------------------------------------------------------------------------------------------------

DEBUG = False
INSTALLED_APPS = [
    "proxysite",
    "bridge",
    "tenants",
    "proxysite.console.ConsoleConfig",  # django.contrib.admin with our own site
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
]
MIDDLEWARE = [  # the console door only: the API door runs none (proxysite/door.py)
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "proxysite.acting.ActorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "tenants.admin.sessions.SessionAgeMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "tenants.admin.middleware.ConsoleMiddleware",
]
ROOT_URLCONF = "proxysite.urls"
ASGI_APPLICATION = "proxysite.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def _database() -> dict[str, object]:
    if EMBEDDED_DATABASE:
        config: dict[str, object] = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(DATA_DIR / "bridge.sqlite3")}
    else:
        known = DATABASE_URL.startswith(("postgres://", "postgresql://", "sqlite:///"))
        config = dict(env.env.db_url_config(DATABASE_URL)) if known else {}
        if not config.get("ENGINE"):  # the text is not shown: it holds a password
            raise ImproperlyConfigured("DATABASE_URL is not valid: it accepts postgres://user:password@host:port/name.")
    if "sqlite" in str(config["ENGINE"]):
        # Immediate transactions wait for the writer's lock; deferred ones fail at once when they upgrade.
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY;",
        }
    config["CONN_MAX_AGE"] = 0  # persistent connections leak under ASGI; the API door has its own executor
    return config


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "tenants.User"
AUTHENTICATION_BACKENDS = ["tenants.backend.RoleBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # served from the packages themselves: no collectstatic step to forget
WHITENOISE_AUTOREFRESH = False

_https = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
# A __Host- cookie is taken from this host itself over TLS alone: no neighbour's page can plant one.
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = ("__Host-session", "__Host-csrf") if _https else ("sessionid", "csrftoken")
CSRF_COOKIE_HTTPONLY = True
SECURE_SSL_REDIRECT = False  # the proxy in front of Bridge ends TLS
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _https and TRUSTED_PROXIES else None
SILENCED_SYSTEM_CHECKS = [  # of `check --deploy`; what is left holds with the settings that docs/settings.md asks for
    "security.W005",  # HSTS for subdomains: they are not ours to promise for
    "security.W008",  # redirects to https: the proxy's, as above
    "security.W021",  # HSTS preloading: for whoever owns the domain to ask for
]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_HOURS = env.integer("SESSION_HOURS", 12, 1, 720)
SESSION_IDLE_MINUTES = env.integer("SESSION_IDLE_MINUTES", 60, 1, 43_200)
CONSOLE_TOTP = env.choice("CONSOLE_TOTP", "optional", ["optional", "required"])
SESSION_COOKIE_AGE = SESSION_HOURS * 3600

# --- Signing in to the console through an OpenID provider (docs/sso.md); the package for it is an extra --------------

OIDC_ISSUER = env.parse("OIDC_ISSUER", "", sso.ISSUER, sso.issuer)
OIDC_CLIENT_ID = env.read("OIDC_CLIENT_ID")
OIDC_CLIENT_SECRET = env.read("OIDC_CLIENT_SECRET")
OIDC_SCOPES = env.parse("OIDC_SCOPES", "openid email", "words, openid and email among them", sso.scopes)
OIDC_VERIFIED_CLAIM = env.read("OIDC_VERIFIED_CLAIM", "email_verified")
OIDC_ONLY = env.flag("OIDC_ONLY")
sso.check(OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET, PUBLIC_URL, OIDC_ONLY)

DEFAULT_EXCEPTION_REPORTER_FILTER = "proxysite.logs.NoFrameVariables"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],  # the door identifies keys before it reads a body
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_PARSER_CLASSES": ["bridge.rest.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["bridge.rest.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "bridge.rest.AlwaysJSON",
    "EXCEPTION_HANDLER": "bridge.rest.exception_handler",
    "URL_FORMAT_OVERRIDE": None,
    "UNAUTHENTICATED_USER": None,
}

# --- Alerts of budgets, where a tenant names no places of its own ---------------------------------------------------

ALERT_EMAILS = env.items("ALERT_EMAILS")
ALERT_WEBHOOK = env.url("ALERT_WEBHOOK", "")
ALERT_PRIVATE_NETWORKS = env.flag("ALERT_PRIVATE_NETWORKS")
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.read("ALERT_FROM", "bridge@localhost")
EMAIL_URL = env.read("EMAIL_URL")


def _email() -> dict[str, Any]:
    known = EMAIL_URL.startswith(("smtp://", "smtps://", "smtp+tls://", "smtp+ssl://", "consolemail://"))
    try:
        found: dict[str, Any] = dict(env.env.email_url_config(EMAIL_URL)) if known else {}
    except (ValueError, KeyError):
        found = {}
    if not found:  # the text is not shown: it holds a password
        raise ImproperlyConfigured("EMAIL_URL is not valid: it accepts smtp+tls://user:password@host:587.")
    return found


if EMAIL_URL:
    vars().update(_email())
EMAIL_TIMEOUT = 10

LOG_FORMAT = env.choice("LOG_FORMAT", "json", ["json", "text"])
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"redact": {"()": "proxysite.logs.Redact"}},
    "formatters": {"json": {"()": "proxysite.logs.JSONFormatter"}, "text": {"()": "proxysite.logs.TextFormatter"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["redact"]},
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
        "httpx": {"level": "WARNING"},
        "asyncio": {"level": "WARNING"},
    },
}

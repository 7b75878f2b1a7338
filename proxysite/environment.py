"""Reads the environment: typed values, `NAME_FILE` for every name, and errors that name the variable."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import environ
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")

env = environ.FileAwareEnv()


def read(name: str, default: str = "") -> str:
    """The variable's text (or the content of the file that `NAME_FILE` names), stripped."""
    try:
        return str(env.str(name, default=default)).strip()
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(f"{name}_FILE: {error}") from None


def file_of(name: str) -> Path | None:
    """The file that the variable is read from, if it is: for what may change while the site runs."""
    path = os.environ.get(f"{name}_FILE")
    return Path(path) if path else None


def parse(name: str, default: str, accepts: str, convert: Callable[[str], T]) -> T:
    """The variable through `convert`; a ValueError stops the start with the name and what it accepts."""
    text = read(name, default)
    try:
        return convert(text)
    except (ValueError, KeyError):
        raise ImproperlyConfigured(f"{name}={text!r} is not valid: it accepts {accepts}.") from None


def integer(name: str, default: int, low: int, high: int) -> int:
    def convert(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            raise ValueError(number)
        return number

    return parse(name, str(default), f"a whole number from {low} to {high}", convert)


def optional_integer(name: str, low: int, high: int) -> int | None:
    """None when it is not set."""
    return integer(name, low, low, high) if read(name) else None


def choice(name: str, default: str, options: Sequence[str]) -> str:
    def convert(text: str) -> str:
        if text not in options:
            raise ValueError(text)
        return text

    return parse(name, default, " or ".join(option or "nothing" for option in options), convert)


def flag(name: str, default: bool = False) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    return parse(name, "on" if default else "off", "on or off", lambda text: words[text.lower()])


def items(name: str, default: str = "") -> list[str]:
    """A comma-separated list, blanks removed."""
    return [part.strip() for part in read(name, default).split(",") if part.strip()]


def url(name: str, default: str, schemes: Sequence[str] = ("http", "https")) -> str:
    def convert(text: str) -> str:
        scheme, separator, rest = text.partition("://")
        if text and not (separator and rest and scheme in schemes):
            raise ValueError(text)
        return text.rstrip("/")

    return parse(name, default, " or ".join(f"{scheme}://…" for scheme in schemes), convert)


def secret(name: str, data_dir: Path, generate: bool) -> str:
    """A secret from the environment, else from `DATA_DIR/secrets`, made there on first use (mode 0600).

    `generate` is true only with the embedded database: a company's installation brings its own secrets, so that
    losing a volume cannot silently invalidate every key.
    """
    value = read(name)
    if value:
        return value
    if not generate:
        raise ImproperlyConfigured(f"{name} is not set: with DATABASE_URL it is required (any long random text).")
    path = data_dir / "secrets" / name
    if not path.exists():
        try:
            _keep(path, secrets.token_urlsafe(48))
        except OSError as error:
            raise ImproperlyConfigured(f"DATA_DIR={data_dir} cannot be written: {error.strerror}.") from None
    return path.read_text().strip()


def _keep(path: Path, value: str) -> None:
    """Writes the file whole or not at all; of two processes that start together the first one's value stays."""
    path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # a mode is for the last folder only
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(value)
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()

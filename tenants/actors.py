"""Who is acting, and from where: known to the verbs without their being told. Set by the console's middleware and by
manage.py; whatever nobody set (a worker's own tasks) is the system. Pure.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    USER = "user"
    COMMAND = "command"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """`context` is what else is worth knowing: a user agent, the words of a command."""

    kind: Kind = Kind.SYSTEM
    name: str = "bridge"
    id: str = ""
    address: str = ""  # of the client, through trusted proxies only
    context: Mapping[str, str] = field(default_factory=dict)


SYSTEM = Actor()
_actor: ContextVar[Actor] = ContextVar("actor", default=SYSTEM)


def current() -> Actor:
    return _actor.get()


@contextmanager
def acting(actor: Actor) -> Iterator[Actor]:
    """Everything done inside is done by this actor."""
    token = _actor.set(actor)
    try:
        yield actor
    finally:
        _actor.reset(token)


def somebody(name: str = "", id: object = "") -> Actor:
    """A person, or someone unknown, acting from where the current actor is."""
    here = current()
    return Actor(Kind.USER, name, str(id), here.address, here.context)


def of_command(words: list[str]) -> Actor:
    """Who runs a management command; only the command's name is kept: what follows it may be a key."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        login = f"uid {os.getuid()}"
    return Actor(Kind.COMMAND, f"manage.py {words[1] if len(words) > 1 else ''}".strip(), login)

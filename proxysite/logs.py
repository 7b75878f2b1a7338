"""Log lines: one JSON object (or one text line) each, with secrets removed on every handler."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import ItemsView
from types import TracebackType
from typing import Any

import msgspec
from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

# Ours, Anthropic's, anything in an Authorization header, the addresses of second factors, passwords in database URLs,
# and the codes of a provider.
_SECRETS = re.compile(
    r"sk-bridge_(?:live|test)_[0-9A-Za-z]{8}(?P<ours>[0-9A-Za-z]*)"
    r"|sk-ant-[0-9A-Za-z_\-]+"
    r"|otpauth://\S+"
    r"|(?i:bearer|basic)\s+[^\s'\",]{8,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|(?<=[?&]code=)[^&\s'\"]+"
)
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def redact(text: str) -> str:
    """The text without secrets; a virtual key keeps its public id, so that a line can still be traced."""
    return _SECRETS.sub(
        lambda match: match[0].removesuffix(match["ours"] or "") + "…" if match["ours"] else "[redacted]", text
    )


class Redact(logging.Filter):
    """Formats the record once and stores the redacted text, so that no formatter can see the original."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = redact("".join(_frames(*record.exc_info)))
            record.exc_info = None
        for name, value in vars(record).items():
            if name not in _PLAIN and not isinstance(value, bool | int | float | None):
                setattr(record, name, redact(str(value)))  # Django adds whole requests, path and all
        return True


def _frames(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> list[str]:
    """The traceback without local variables."""
    return traceback.format_exception(kind, error, trace)


class JSONFormatter(logging.Formatter):
    """`{"time","level","logger","message",…extra…,"trace"?}` on one line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _PLAIN)
        if record.exc_text:
            line["trace"] = record.exc_text
        return msgspec.json.encode(line, enc_hook=str).decode()


class TextFormatter(logging.Formatter):
    """`time level logger message name=value…`, for a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{name}={value}" for name, value in vars(record).items() if name not in _PLAIN)
        return super().format(record) + (f" [{extra}]" if extra else "")


class NoFrameVariables(SafeExceptionReporterFilter):
    """Django's error reports show the local variables of every frame: keys and prompts among them. Ours show none."""

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: Any) -> ItemsView[str, Any]:
        return {}.items()

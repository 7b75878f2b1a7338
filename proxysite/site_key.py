"""The site's own Anthropic key: from the environment, or from a file that is read again whenever it changes.

Whoever rotates it writes the new key to ANTHROPIC_API_KEY_FILE; within a second every worker sends it with new calls,
and those under way end with the old one.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


class SiteKey:
    """`text` is the key as it was last read."""

    def __init__(self, text: str, file: Path | None = None) -> None:
        self.text, self._file = text, file
        self._seen: tuple[int, int, int] | None = None
        self.look()

    def look(self) -> bool:
        """Whether the file holds another key now. One that cannot be read, or is empty, changes nothing."""
        if self._file is None:
            return False
        try:
            stat = os.stat(self._file)
            seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if seen == self._seen:
                return False
            text = self._file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            log.warning(
                "ANTHROPIC_API_KEY_FILE cannot be read; the old key stays", extra={"error": type(error).__name__}
            )
            return False
        self._seen = seen
        if not text or text == self.text:
            return False
        self.text = text
        return True

    async def watch(self, use: Callable[[str], None]) -> None:
        """Hands on every new key, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if await asyncio.to_thread(self.look):
                use(self.text)
                log.info("the site's Anthropic key was replaced")

"""OpenAI's `responses/compact` on the one road: a request whose answer is a summary of its conversation."""

from __future__ import annotations

from typing import Any

from bridge.dialects import betas, compaction
from bridge.dialects.responses_answer import Response
from bridge.responses_api import ResponsesDialect, ResponsesQuestion
from bridge.speech import Asked


class CompactionDialect(ResponsesDialect):
    """Counted, limited, priced and recorded as any response is; never streamed."""

    def read(self, asked: Asked) -> CompactionQuestion:
        reading = compaction.read(asked.body, asked.seal)
        wanted = betas.passing(asked.header("anthropic-beta"), reading.receipt)
        return CompactionQuestion(reading, wanted, asked.request_id)


class CompactionQuestion(ResponsesQuestion):
    """Its answer is told as what takes the conversation's place."""

    def _resource(self, response: Response) -> dict[str, Any]:
        return compaction.resource(response.resource(), self._reading.said, self._reading.form.seal)


COMPACTION = CompactionDialect()

"""Completions on the one road: a chat of one turn, told as text."""

from __future__ import annotations

from bridge.chat import ChatQuestion, ChatTold, ChatWhole
from bridge.dialects import betas, completions, completions_answer
from bridge.dialects.completions_answer import CompletionStream
from bridge.speech import Asked, Tally
from bridge.translated import TranslatedDialect


class CompletionsDialect(TranslatedDialect):
    name = "completions"

    def read(self, asked: Asked) -> CompletionsQuestion:
        reading = completions.read(asked.body, asked.model_in_url)
        return CompletionsQuestion(reading, betas.passing(asked.header("anthropic-beta"), reading.receipt))


class CompletionsQuestion(ChatQuestion):
    def stream(self, tally: Tally, created: int) -> CompletionTold:
        return CompletionTold(self._reading, tally, created, self._each())

    def whole(self, tally: Tally, created: int) -> CompletionWhole:
        return CompletionWhole(self._reading, tally, created, self._each())


class CompletionTold(ChatTold):
    def _begun(self, choice: int, shared_id: str) -> CompletionStream:
        return CompletionStream(self._tally.usage, self._created, self._reading.include_usage, choice, shared_id)


class CompletionWhole(ChatWhole):
    write_choices = staticmethod(completions_answer.write_choices)


COMPLETIONS = CompletionsDialect()

from __future__ import annotations

from django.apps import AppConfig


class ProxysiteConfig(AppConfig):
    name = "proxysite"

    def ready(self) -> None:
        from bridge.prices import built_in
        from bridge.transcript import read
        from tenants import pricing, transcripts

        pricing.hand_over(built_in)
        transcripts.hand_over(read)

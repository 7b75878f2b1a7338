"""What the workers of this host count: for `/metrics`, and for the console, whose pages any of them may answer."""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, multiprocess


def registry() -> CollectorRegistry:
    """The numbers of all workers under gunicorn (PROMETHEUS_MULTIPROC_DIR), those of this process otherwise."""
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return REGISTRY
    together = CollectorRegistry()
    multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together


def value(name: str) -> float:
    """A number that has no labels; 0 before any worker has told it."""
    return registry().get_sample_value(name) or 0.0

"""What the service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from figureground.serving.limits import Line, Memory

STAGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # seconds


class Metrics:
    """The counters of an application.

    Args:
        line: whose length is shown.
        memory: of the requests.
    """

    def __init__(self, line: Line, memory: Memory) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "figureground_requests", "Photos, by the status of the answer (499: the client had gone).", ["status"],
            registry=self._registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "figureground_seconds", "Of a request, by stage.", ["stage"], buckets=STAGES, registry=self._registry
        )
        self.received = Counter("figureground_received_bytes", "Of requests.", registry=self._registry)
        self.sent = Counter("figureground_sent_bytes", "Of answers.", registry=self._registry)
        for name, words, value in (
            ("waiting", "Requests that wait for their turn.", lambda: line.waiting),
            ("working", "Requests that are worked on.", lambda: line.working),
            ("held_bytes", "Of requests that are held.", lambda: memory.held),
        ):
            Gauge(f"figureground_{name}", words, registry=self._registry).set_function(value)
        ProcessCollector(registry=self._registry)  # memory among others, on Linux

    def page(self) -> bytes:
        """All of them as text."""
        return generate_latest(self._registry)

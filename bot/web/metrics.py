"""What is counted, in Prometheus' words. Labels never carry names of people, texts or ids."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

REGISTRY = CollectorRegistry()
WEBHOOKS = Counter("switchboard_webhooks_total", "Webhook requests", ["channel", "outcome"], registry=REGISTRY)
BACKLOG = Gauge("switchboard_backlog_threads", "Threads queued or being worked on", registry=REGISTRY)
STORE_SECONDS = Gauge("switchboard_store_ping_seconds", "Time that Redis takes to answer", registry=REGISTRY)
STORE_UP = Gauge("switchboard_store_up", "1 if Redis answers", registry=REGISTRY)

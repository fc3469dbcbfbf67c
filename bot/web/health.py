"""`/healthz`: the process lives. `/readyz`: it can do its work. `/metrics`: numbers about it."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bot.core.protocols import StoreUnavailable
from bot.runtime.store import Store
from bot.web.metrics import BACKLOG, REGISTRY, STORE_SECONDS, STORE_UP


def health_routes(store: Store, *, model: str, channels: dict[str, bool]) -> APIRouter:
    """The routes for whoever watches the process."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        """Redis answers; which channels are on, and what stands behind the model."""
        try:
            await store.connection.ping()
        except StoreUnavailable as error:
            return JSONResponse({"status": "unavailable", "redis": str(error)}, status_code=503)
        return JSONResponse({"status": "ok", "redis": "ok", "model": model, "channels": channels})

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        try:
            STORE_SECONDS.set(await store.connection.ping())
            BACKLOG.set(await store.wakeups.backlog())
            STORE_UP.set(1)
        except StoreUnavailable:
            STORE_UP.set(0)
        return Response(generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    del healthz, readyz, metrics  # the router keeps them
    return router

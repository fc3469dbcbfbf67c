"""The web application: routes put together, and errors told in one form."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException

from bot.core.protocols import StoreUnavailable
from bot.web.api import Problem
from bot.web.api_models import ErrorOut

Lifespan = Callable[[], AbstractAsyncContextManager[None]]


def web_application(routers: list[APIRouter], lifespan: Lifespan) -> FastAPI:
    """The application. `lifespan` surrounds its life."""

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncGenerator[None]:
        async with lifespan():
            yield

    app = FastAPI(
        title="Switchboard",
        description="Launch agents, look at their threads, answer their questions, decide their approvals.",
        lifespan=living,
    )
    for router in routers:
        app.include_router(router)

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse("/docs")

    @app.exception_handler(StoreUnavailable)
    async def away(_: Request, error: Exception) -> JSONResponse:
        # Nothing was stored: whoever sent it should send it again.
        return JSONResponse(ErrorOut(error=str(error)).model_dump(), status_code=503, headers={"Retry-After": "5"})

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: Exception) -> JSONResponse:
        known = error if isinstance(error, HTTPException) else HTTPException(500)
        body = known.body if isinstance(known, Problem) else ErrorOut(error=str(known.detail))
        return JSONResponse(body.model_dump(mode="json"), status_code=known.status_code, headers=known.headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: Exception) -> JSONResponse:
        problems: list[dict[str, Any]] = list(error.errors()) if isinstance(error, RequestValidationError) else []
        broken = any(one["type"] == "json_invalid" for one in problems)
        text = "; ".join(map(_explained, problems))
        return JSONResponse(ErrorOut(error=text[:2000]).model_dump(), status_code=400 if broken else 422)

    del home, away, refused, malformed  # the application keeps them
    return app


def _explained(problem: dict[str, Any]) -> str:
    place = ".".join(map(str, problem["loc"][1:]))
    match problem["type"]:
        case "json_invalid":
            return f"body: this is not JSON (at character {place})"
        case "model_attributes_type" | "missing" if not place:
            return "body: send a JSON object, with Content-Type: application/json"
        case _:
            return f"{place}: {problem['msg'].removeprefix('Value error, ')}"

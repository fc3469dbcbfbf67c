"""`bot web` and `bot worker`: the processes of the Procfile."""

from __future__ import annotations

import asyncio
import signal
import socket

import structlog
import typer
import uvicorn

from bot.cli.board import Board, assemble
from bot.logs import set_up_logging
from bot.runtime.private_server import reachable_redis
from bot.runtime.worker import Worker
from bot.settings import Settings, SettingsError, load_settings

logger = structlog.get_logger(__name__)

_REACHABLE_SECONDS = 20.0


def web(context: typer.Context) -> None:
    """Serve webhooks, the API and its documentation (`/docs`), on HOST (127.0.0.1) and PORT (8000).

    Any number of these may run. Each answers a webhook only after its event is stored.
    """
    settings = load_settings()
    _begin(settings, "web")
    _ensure_free(settings.host, settings.port)
    with reachable_redis(settings.redis_url, settings.data_dir) as url:
        board = assemble(context, settings, url)
        config = uvicorn.Config(
            board.web(),
            host=settings.host,
            port=settings.port,
            log_level="warning",
            access_log=False,  # it would log signed links
            server_header=False,
            timeout_graceful_shutdown=10,
        )
        uvicorn.Server(config).run()


def _begin(settings: Settings, process: str) -> None:
    set_up_logging(settings.log_level, process=process)
    if not settings.people_file.exists():
        hint = "the bot knows nobody, so nobody can ask or approve anything"
        logger.warning("people_file_is_missing", path=str(settings.people_file), hint=hint)


def _ensure_free(host: str, port: int) -> None:
    """Say so now, in a line, where somebody else listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"PORT: {host}:{port} cannot be listened on ({error.strerror}); choose another"
            ) from error


def worker(context: typer.Context) -> None:
    """Drive threads: ask the model, run tools, deliver messages, fire timers.

    Any number of these may run, on any machine. SIGTERM lets what runs come to its end first.
    """
    settings = load_settings()
    _begin(settings, "worker")
    with reachable_redis(settings.redis_url, settings.data_dir) as url:
        board = assemble(context, settings, url)
        asyncio.run(_work(board))


async def _work(board: Board) -> None:
    await board.store.connection.wait_until_reachable(timeout_seconds=_REACHABLE_SECONDS)
    worker = board.worker()
    stop_on_signals(worker)
    try:
        await worker.run()
    finally:
        await board.close()


def stop_on_signals(worker: Worker) -> None:
    """SIGTERM and Ctrl-C drain the worker."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)

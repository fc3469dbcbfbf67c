"""`bot dev`: the whole bot on one machine, with a simulated Slack, without any account.

It starts the same processes as the Procfile, with settings that point them at the simulator and at a sample repository.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from agents.deploy.sample import make_sample
from bot.kept import kept_token
from bot.runtime.private_server import reachable_redis, server_binary
from bot.settings import Settings, SettingsError, load_settings
from channels.slack.simulator import SimulatedSlack, serve

console = Console()
_START_SECONDS = 30.0
_SAMPLE_PEOPLE = Path(__file__).parents[2] / "people.sample.toml"
NO_MODEL = (
    "No model is behind this: the answers come from scripted rules. Set ANTHROPIC_API_KEY in .env for a real one."
)


def dev(
    port: Annotated[
        int,
        typer.Option(
            help="Port of the page. The bot itself listens on PORT (8000). A port that is taken is passed over.",
            min=1,
            max=65535,
        ),
    ] = 8001,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Use the simulated Slack even if a real one is set up in .env.")
    ] = False,
) -> None:
    """Start everything: web, worker, a private Redis, and a simulated Slack to talk to in the browser.

    With SLACK_BOT_TOKEN in `.env` it works in that workspace instead. What it keeps lies in DATA_DIR (`.data`), so
    that the next start goes on where this one stopped. Ctrl-C stops it.
    """
    settings = load_settings()
    real_slack = settings.slack_is_on and not simulated
    data_dir = settings.data_dir.absolute()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"DATA_DIR: {data_dir} cannot be made ({error.strerror})") from error
    signal.signal(signal.SIGTERM, _interrupt)
    with reachable_redis(settings.redis_url, settings.data_dir) as url:
        redis = "REDIS_URL" if settings.redis_url else server_binary()[1]
        page_port, web_port = (_free_port(port), _free_port(settings.port))
        environment = {**os.environ, "REDIS_URL": url, "DATA_DIR": str(data_dir), "PORT": str(web_port)}
        environment |= _sample(settings, data_dir)
        if not real_slack:
            environment |= _simulated(data_dir, page_port, web_port)
        names = ["web", "worker"] if real_slack else ["simulator", "web", "worker"]
        children = {name: _start(name, environment, data_dir / "logs") for name in names}
        try:
            _wait_until_up(children, web_port, None if real_slack else page_port, data_dir)
            _greet(settings, redis, None if real_slack else page_port, web_port, data_dir)
            _watch(children, data_dir)
        except KeyboardInterrupt:
            console.print("\nStopping; what runs comes to its end first.")
        finally:
            _stop(children)


def simulator() -> None:
    """Serve the simulated Slack and its page, until it is stopped."""
    notice = "" if load_settings().model_is_on else NO_MODEL
    data_dir = Path(os.environ["DATA_DIR"])
    web = os.environ["PUBLIC_URL"]
    slack = SimulatedSlack(
        events_url=f"{web}/slack/events",
        bot_token=os.environ["SLACK_BOT_TOKEN"],
        signing_secret=os.environ["SLACK_SIGNING_SECRET"],
        notice=notice,
        links=[("The bot's API", f"{web}/docs")],
        save_to=data_dir / "slack.json",
    )
    asyncio.run(_simulate(slack, int(os.environ["SIMULATOR_PORT"])))


async def _simulate(slack: SimulatedSlack, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serve(slack, port=port):
        await stop.wait()
    await slack.close()


def _sample(settings: Settings, data_dir: Path) -> dict[str, str]:
    """The sample repository and the sample people, where nothing else is set up."""
    given: dict[str, str] = {}
    if not settings.deploy_repo:
        sample = make_sample(data_dir / "sample")
        given |= {"DEPLOY_REPO": str(sample.repository), "DEPLOY_FILE": str(sample.deploy_file)}
    if not settings.people_file.exists():
        given["PEOPLE_FILE"] = str(_SAMPLE_PEOPLE)
    return given


def _simulated(data_dir: Path, page_port: int, web_port: int) -> dict[str, str]:
    kept = kept_token(data_dir / "simulator_secret")
    return {
        "SIMULATOR_PORT": str(page_port),
        "PUBLIC_URL": f"http://127.0.0.1:{web_port}",
        "SLACK_API_URL": f"http://127.0.0.1:{page_port}/api/",
        "SLACK_BOT_TOKEN": f"xoxb-simulated-{kept[:24]}",
        "SLACK_SIGNING_SECRET": kept[24:],
        "SLACK_APP_TOKEN": "",
    }


def _start(name: str, environment: Mapping[str, str], logs: Path) -> subprocess.Popen[bytes]:
    logs.mkdir(exist_ok=True)
    with (logs / f"{name}.log").open("ab") as log:
        # Its own session: Ctrl-C reaches this process only, which then stops the others in order.
        return subprocess.Popen(
            [sys.executable, "-m", "bot", name],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait_until_up(
    children: Mapping[str, subprocess.Popen[bytes]], web_port: int, page_port: int | None, data_dir: Path
) -> None:
    wanted = [f"http://127.0.0.1:{web_port}/readyz", *([f"http://127.0.0.1:{page_port}/"] if page_port else [])]
    deadline = time.monotonic() + _START_SECONDS
    with console.status("Starting …"):
        while wanted and time.monotonic() < deadline:
            _report_dead(children, data_dir)
            wanted = [address for address in wanted if not _answers(address)]
            time.sleep(0.05)
    if wanted:
        console.print(f"[red]{wanted[0]} does not answer.[/] Look into {data_dir / 'logs'}.")
        raise typer.Exit(1)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=2).is_success
    except httpx.HTTPError:
        return False


def _greet(settings: Settings, redis: str, page_port: int | None, web_port: int, data_dir: Path) -> None:
    console.print()
    if page_port:
        console.print(f"  [bold green]Switchboard is up.[/]  Open [bold]http://127.0.0.1:{page_port}[/]")
        console.print("  Write in #deploys: [italic]@bot deploy v1.4.0 to production[/]")
    else:
        console.print("  [bold green]Switchboard is up[/] and works in your Slack workspace. Mention it in a channel.")
    console.print()
    model = settings.anthropic_model if settings.model_is_on else "none: scripted rules answer (set ANTHROPIC_API_KEY)"
    console.print(f"  model  {model}", highlight=False)
    console.print(f"  redis  {redis}", highlight=False)
    console.print(f"  api    http://127.0.0.1:{web_port}/docs", highlight=False)
    console.print(f"  logs   {data_dir / 'logs'}", highlight=False, soft_wrap=True)
    console.print("  Ctrl-C stops it; the next start finds everything again.\n")


def _watch(children: Mapping[str, subprocess.Popen[bytes]], data_dir: Path) -> None:
    while True:
        _report_dead(children, data_dir)
        time.sleep(0.5)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _report_dead(children: Mapping[str, subprocess.Popen[bytes]], data_dir: Path) -> None:
    for name, child in children.items():
        if child.poll() is not None:
            log = data_dir / "logs" / f"{name}.log"
            console.print(f"[red]{name} has stopped ({child.returncode}).[/] The end of {log}:")
            console.print("\n".join(log.read_text(errors="replace").splitlines()[-8:]), markup=False, highlight=False)
            raise typer.Exit(1)


def _stop(children: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for child in children.values():
        if child.poll() is None:
            child.terminate()
    for child in children.values():
        try:
            child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            child.kill()


def _free_port(wanted: int) -> int:
    """This port, or the next one that is free."""
    for port in range(wanted, min(wanted + 50, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    console.print(f"No port from {wanted} on is free. Choose another with --port.")
    raise typer.Exit(2)

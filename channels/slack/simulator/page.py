"""The page in the browser: the state it shows, and what a person does on it.

It acts for people only, never for the bot. Whom it answers stands in `channels.simulating.guard`.
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from starlette.routing import Route

from channels.simulating import Change, Files, Streams, acting, guarded, reading
from channels.slack.simulator.acting import Acting
from channels.slack.simulator.records import Json
from channels.slack.simulator.workspace import Workspace

FILES = Path(__file__).with_name("page")


class Page:
    """The page's endpoints, for what people can do in one simulated Slack. `links`: (label, address)."""

    def __init__(self, simulator: Acting, *, notice: str, links: Iterable[tuple[str, str]]) -> None:
        self._simulator = simulator
        self._notice = notice
        self._links = list(links)
        self._workspace: Workspace = simulator.workspace
        self.streams = Streams(simulator.workspace, _shown)

    def routes(self) -> list[Route]:
        """`/`, its files, and `/page/…`."""
        acts = {
            "say": self._say, "click": self._click, "select": self._click, "submit": self._submit, "close": self._close,
        }  # fmt: skip
        return [
            *Files(FILES).routes("/", "/page/files"),
            Route("/page/state", reading(self._state)),
            Route("/page/changes", guarded(self.streams.endpoint)),
            *(Route(f"/page/{name}", acting(act), methods=["POST"]) for name, act in acts.items()),
        ]

    def arrived(self) -> int:
        """How many messages of the bot there are."""
        workspace = self._workspace
        return sum(m.user == workspace.bot.id for channel in workspace.channels for m in workspace.messages(channel))

    def _state(self) -> Json:
        workspace = self._workspace
        return {
            "number": workspace.change_number,
            "notice": self._notice,
            "links": [{"label": label, "url": url} for label, url in self._links],
            "team": {"id": workspace.team_id, "name": workspace.team_name},
            "bot": workspace.bot.id,
            "users": [asdict(user) for user in workspace.users.values()],
            "channels": [asdict(channel) for channel in workspace.channels.values()],
            "messages": [
                asdict(message)
                for channel in workspace.channels
                for message in workspace.messages(channel, ephemeral=True)
            ],
            "views": [asdict(view) for view in workspace.views.values()],
            "files": [asdict(file) for file in workspace.files.values()],
        }

    async def _say(self, body: Json) -> None:
        text = str(body["text"]).strip()
        if text.startswith("/"):
            command, _, rest = text.partition(" ")
            await self._simulator.command(str(body["user"]), str(body["channel"]), command, rest)
        elif text:
            await self._simulator.say(str(body["user"]), str(body["channel"]), text, body.get("thread_ts"))

    async def _click(self, body: Json) -> None:
        message = self._workspace.message(str(body["channel"]), str(body["ts"]))
        await self._simulator.click(
            str(body["user"]), message, str(body["action_id"]), body.get("value"), block_id=body.get("block_id")
        )

    async def _submit(self, body: Json) -> None:
        view = self._workspace.view(str(body["view"]))
        await self._simulator.submit(str(body["user"]), view, body["values"])

    async def _close(self, body: Json) -> None:
        await self._simulator.close_view(str(body["user"]), self._workspace.view(str(body["view"])))


def _shown(change: Change) -> Json:
    return {"kind": change.kind, "data": change.data}

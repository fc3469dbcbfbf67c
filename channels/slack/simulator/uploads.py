"""File uploads in Slack's three steps: ask for an address, send the bytes there, complete into a channel.

A file is nowhere to be seen before the third step, and an upload address takes bytes once.
"""

import json
import secrets
from collections.abc import Callable
from typing import cast

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from channels.slack.simulator.limits import BreachError
from channels.slack.simulator.methods import Methods
from channels.slack.simulator.records import Json
from channels.slack.simulator.workspace import UnknownError, Workspace, new_id


class Uploads:
    """`files.getUploadURLExternal` and `files.completeUploadExternal`, and the address between them."""

    def __init__(self, workspace: Workspace, methods: Methods, upload_url: Callable[[str], str]) -> None:
        self._workspace, self._methods, self._upload_url = workspace, methods, upload_url
        self._expected: dict[str, tuple[str, str, int]] = {}
        self._received: dict[str, tuple[str, bytes]] = {}
        methods.table = {
            **methods.table,
            "files.getUploadURLExternal": self.begin,
            "files.completeUploadExternal": self.complete,
        }

    def begin(self, args: Json) -> Json:
        """Step one: an address for `length` bytes."""
        length = str(args.get("length") or "")
        if not args.get("filename") or not length.isdigit() or int(length) == 0:
            raise BreachError("invalid_arguments", ["missing required field: filename or length"])
        key, file_id = secrets.token_urlsafe(16), new_id("F")
        self._expected[key] = (file_id, str(args["filename"]), int(length))
        return {"upload_url": self._upload_url(key), "file_id": file_id}

    async def receive(self, request: Request) -> Response:
        """Step two: the bytes."""
        expected = self._expected.pop(request.path_params["key"], None)
        content = await request.body()
        if expected is None or len(content) != expected[2]:
            return PlainTextResponse("no such upload", 400)
        file_id, name, length = expected
        self._received[file_id] = (name, content)
        return PlainTextResponse(f"OK - {length}")

    def complete(self, args: Json) -> Json:
        """Step three: share the files, as one message of the bot when a channel is named."""
        raw: object = json.loads(args["files"]) if isinstance(args.get("files"), str) else args.get("files")
        wanted = cast("list[Json]", raw) if isinstance(raw, list) else []
        if not wanted or any(item.get("id") not in self._received for item in wanted):
            raise BreachError("file_not_found")
        target = args.get("channel_id") or args.get("channels")
        try:
            channel = self._workspace.channel(str(target)) if target else None
        except UnknownError:
            raise BreachError("invalid_channel") from None
        answer: list[Json] = []
        for item in wanted:
            name, content = self._received.pop(item["id"])
            file = self._workspace.add_file(item["id"], name, item.get("title") or name, content)
            answer.append({"id": file.id, "title": file.title, "name": file.name})
        if channel:
            message = self._workspace.post(
                channel.id,
                self._workspace.bot.id,
                args.get("initial_comment") or "",
                thread_ts=args.get("thread_ts") or None,
                bot_id=self._workspace.bot_id,
                files=[item["id"] for item in answer],
            )
            self._methods.announce(message)
        return {"files": answer}

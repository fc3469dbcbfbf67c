"""Socket Mode: the WebSocket over which an app without a public address gets its envelopes (SL10).

A connection needs the single-use ticket of an `apps.connections.open` call. An envelope is taken only when its
`envelope_id` comes back in time; nothing here decides whether it is sent again, that is `delivery`'s business.
"""

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

from starlette.websockets import WebSocket, WebSocketDisconnect

from channels.slack.simulator.records import Json


class UnacknowledgedError(Exception):
    """No acknowledgement came; the text is Slack's `retry_reason`."""


@dataclass(eq=False, slots=True)
class Connection:
    """One open WebSocket and the envelopes that wait for their acknowledgement on it."""

    websocket: WebSocket
    waiting: dict[str, asyncio.Future[Json]] = field(default_factory=dict[str, "asyncio.Future[Json]"])


class Sockets:
    """The app's connections. `ack_seconds` is how long it may take to acknowledge an envelope."""

    def __init__(self, *, app_id: str, ack_seconds: float) -> None:
        self._app_id = app_id
        self._ack_seconds = ack_seconds
        self._tickets: set[str] = set()
        self.connections: list[Connection] = []

    def ticket(self) -> str:
        """A single-use ticket for one connection."""
        ticket = secrets.token_urlsafe(16)
        self._tickets.add(ticket)
        return ticket

    async def endpoint(self, websocket: WebSocket) -> None:
        """Serve `/link?ticket=…` for as long as the app stays."""
        ticket = websocket.query_params.get("ticket", "")
        if ticket not in self._tickets:
            await websocket.close()
            return
        self._tickets.discard(ticket)
        await websocket.accept()
        connection = Connection(websocket)
        try:
            await websocket.send_json(
                {
                    "type": "hello",
                    "num_connections": len(self.connections) + 1,
                    "connection_info": {"app_id": self._app_id},
                    "debug_info": {"host": "simulator", "approximate_connection_time": 3600},
                }
            )
            self.connections.append(connection)
            while True:
                self._acknowledge(connection, await websocket.receive_json())
        except WebSocketDisconnect:
            pass
        finally:
            self._drop(connection)

    def _acknowledge(self, connection: Connection, message: Any) -> None:  # noqa: ANN401 - whatever the app sent
        if not isinstance(message, dict):
            return
        answer = cast("Json", message)
        waiting = connection.waiting.pop(str(answer.get("envelope_id")), None)
        if waiting and not waiting.done():
            waiting.set_result(answer)

    def _drop(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
        for waiting in connection.waiting.values():
            if not waiting.done():
                waiting.set_exception(UnacknowledgedError("disconnected"))
        connection.waiting.clear()

    async def send(
        self, kind: str, payload: Json, *, attempt: int, reason: str | None, tried: list[Connection]
    ) -> Json | None:
        """Send one envelope and return the payload of its acknowledgement, if it had one.

        Connections in `tried` are avoided while there is another; the one used is added. Raises `UnacknowledgedError`.
        """
        fresh = [connection for connection in self.connections if connection not in tried]
        connection = (fresh or self.connections)[0]
        tried.append(connection)
        # Turns spread the load, as Slack does over an app's connections.
        self.connections.remove(connection)
        self.connections.append(connection)
        envelope: Json = {
            "envelope_id": str(uuid4()),
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind != "events_api",
        }
        if kind == "events_api":
            envelope |= {"retry_attempt": attempt, "retry_reason": reason or ""}
        answer = asyncio.get_running_loop().create_future()
        connection.waiting[envelope["envelope_id"]] = answer
        try:
            async with asyncio.timeout(self._ack_seconds):
                await connection.websocket.send_json(envelope)
                acknowledgement: Json = await answer
        except TimeoutError:
            raise UnacknowledgedError("timeout") from None
        except (WebSocketDisconnect, RuntimeError):
            # Starlette raises RuntimeError when the socket was closed between the choice and the send.
            raise UnacknowledgedError("disconnected") from None
        finally:
            connection.waiting.pop(envelope["envelope_id"], None)
        return acknowledgement.get("payload")

    async def refresh(self, reason: str = "refresh_requested") -> None:
        """Announce to every connection that Slack is about to drop it, as it does every few hours, then drop it."""
        for connection in list(self.connections):
            await connection.websocket.send_json({"type": "disconnect", "reason": reason, "debug_info": {}})
        await self.close()

    async def close(self) -> None:
        """Drop every connection."""
        for connection in list(self.connections):
            self._drop(connection)
            await connection.websocket.close()

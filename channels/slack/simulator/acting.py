"""Acting as a person in the simulated Slack, and looking at what that person then sees.

What people do ends at the app's door: it says whether the app took the delivery, never what it made of it. Nobody can
act as the bot here; that takes its token and the Web API.
"""

import asyncio
from dataclasses import replace
from uuid import uuid4

from channels.slack.simulator import elements
from channels.slack.simulator.delivery import Deliveries, Delivery
from channels.slack.simulator.limits import BreachError, check_message, check_view
from channels.slack.simulator.methods import Methods
from channels.slack.simulator.payloads import Payloads
from channels.slack.simulator.people import wire_text
from channels.slack.simulator.records import Channel, Json, Message, User, View
from channels.slack.simulator.tickets import Tickets
from channels.slack.simulator.workspace import Workspace

DID_NOT_RESPOND = "Switchboard did not respond. Nothing happened; try again."


class NotAllowedError(PermissionError):
    """A person tried what Slack would not let them do."""


class NotSubmittedError(ValueError):
    """Slack's own client refused a modal before the app saw it; `errors` are block id -> words."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(f"not submitted: {errors}")
        self.errors = errors


class Acting:
    """What a person can do and see; the parts come from `SimulatedSlack`."""

    workspace: Workspace
    tickets: Tickets
    payloads: Payloads
    deliveries: Deliveries
    methods: Methods

    async def say(self, user: str, channel: str, text: str, thread_ts: str | None = None) -> Message:
        """Write a message, "@bot" for a mention; returns once the app took the events or Slack's first tries failed.

        `user` and `channel` are ids or names. Raises `UnknownError`, `NotAllowedError`.
        """
        person, place = self._person(user), self._place(user, channel)
        if thread_ts:
            thread_ts = self.workspace.message(place.id, thread_ts).root_ts
        text, nonce = wire_text(self.workspace, text), str(uuid4())
        message = self.workspace.post(place.id, person.id, text, thread_ts=thread_ts, client_msg_id=nonce)
        await self._sent(person, message.channel, *self.payloads.posted(message))
        return message

    async def edit(self, user: str, message: Message, text: str) -> Message:
        """Change an own message."""
        person, previous = self._person(user), self._own(user, message)
        changed = self.workspace.update(previous.channel, previous.ts, text=wire_text(self.workspace, text))
        await self._sent(person, changed.channel, self.payloads.changed(changed, previous))
        return changed

    async def delete(self, user: str, message: Message) -> None:
        """Delete an own message."""
        person, previous = self._person(user), self._own(user, message)
        self.workspace.delete(previous.channel, previous.ts)
        await self._sent(person, previous.channel, self.payloads.deleted(previous))

    async def click(
        self, user: str, message: Message, action_id: str, value: str | None = None, *, block_id: str | None = None
    ) -> Delivery:
        """Use a button, or choose the option `value` of a select, in the message as it was when you took it.

        A message that was updated since is clicked as it looked before: a stale click. Raises `NotThereError`,
        `NotAllowedError`. The delivery says whether the app took it.
        """
        person, place = self._person(user), self._place(user, message.channel)
        if message.ephemeral_to not in {None, person.id}:
            raise NotAllowedError(f"{person.id} does not see {message.ts}")
        shown = [b for b in message.blocks if block_id in {None, b["block_id"]}]
        seen = replace(message, blocks=shown)
        action, values = elements.used(seen, action_id, value, self.workspace.next_ts())
        payload = self.payloads.block_actions(
            person,
            message,
            action=action,
            values=values,
            trigger_id=self.tickets.trigger(person.id),
            response_key=self.tickets.response_url(person.id, place.id, message),
        )
        delivery = await self.deliveries.send("interactive", payload)
        self._warn(delivery, person, place.id)
        return delivery

    async def submit(self, user: str, view: View, values: elements.Values) -> Delivery:
        """Press a modal's submit button; the app's `response_action` is carried out.

        Raises `NotSubmittedError` when a required input is empty, `NotThereError` for one that the modal does not have.
        """
        person, view = self._person(user), self._open(user, view)
        state, objections = elements.submitted(view.payload, values)
        if objections:
            self.workspace.show_errors(view.id, objections)
            raise NotSubmittedError(objections)
        payload = self.payloads.view_submission(person, view, state, self.tickets.trigger(person.id))
        delivery = await self.deliveries.send("interactive", payload)
        self._warn(delivery, person, None)
        if delivery.accepted:
            self._answered(person, view, delivery)
        return delivery

    def _answered(self, person: User, view: View, delivery: Delivery) -> None:
        answer = delivery.json_answer
        try:
            match answer.get("response_action"):
                case "errors":
                    self.workspace.show_errors(view.id, answer["errors"])
                case "update":
                    self.workspace.update_view(view.id, check_view(answer.get("view")))
                case "push":
                    self.workspace.open_view(person.id, check_view(answer.get("view")))
                case "clear":
                    for other in self.views(person.id):
                        self.workspace.close_view(other.id)
                case _:
                    self.workspace.close_view(view.id)
        except BreachError as breach:
            self._trouble(person, None, f"Switchboard answered with a modal that Slack refuses: {breach.details}")

    async def close_view(self, user: str, view: View) -> Delivery | None:
        """Dismiss a modal; the app hears of it only when the modal asked for that."""
        person, view = self._person(user), self._open(user, view)
        self.workspace.close_view(view.id)
        if not view.payload.get("notify_on_close"):
            return None
        return await self.deliveries.send("interactive", self.payloads.view_closed(person, view))

    async def command(self, user: str, channel: str, command: str, text: str = "") -> Delivery:
        """Use a slash command; an answer in the response body is shown as Slack shows it."""
        person, place = self._person(user), self._place(user, channel)
        tickets = {
            "trigger_id": self.tickets.trigger(person.id),
            "response_key": self.tickets.response_url(person.id, place.id, None),
        }
        payload = self.payloads.command(person, place, command, text, **tickets)
        delivery = await self.deliveries.send("slash_commands", payload)
        self._warn(delivery, person, place.id)
        body = delivery.json_answer or {"text": delivery.answer_text}
        if delivery.accepted and any(body.values()):
            self._show_answer(person, place, body)
        return delivery

    def _show_answer(self, person: User, place: Channel, body: Json) -> None:
        try:
            blocks = check_message(body)
        except BreachError as breach:
            self._trouble(person, place.id, f"Switchboard answered with what Slack refuses: {breach.error}")
            return
        public = body.get("response_type") == "in_channel"
        message = self.workspace.post(
            place.id,
            self.workspace.bot.id,
            body.get("text") or "",
            blocks=blocks,
            bot_id=self.workspace.bot_id,
            ephemeral_to=None if public else person.id,
        )
        if public:
            self.methods.announce(message)

    def thread(self, channel: str, ts: str) -> list[Message]:
        """The parent and its replies, in order, without ephemeral messages."""
        return self.workspace.thread(channel, ts)

    def ephemerals(self, user: str) -> list[Message]:
        """What only this person was shown, oldest first."""
        return self.workspace.ephemerals(self._person(user).id)

    def views(self, user: str) -> list[View]:
        """The modals that this person has open, oldest first."""
        return [view for view in self.workspace.views.values() if view.user == self._person(user).id]

    @staticmethod
    def card_actions(message: Message) -> dict[str, Json]:
        """The buttons and selects of a message: action id -> element."""
        return elements.card_actions(message)

    def _tell(self, payload: Json) -> Delivery:
        return self.deliveries.start("events_api", payload)

    def _person(self, id_or_name: str) -> User:
        by_name = {user.name: user for user in self.workspace.users.values()}
        person = by_name.get(id_or_name) or self.workspace.user(id_or_name)
        if person.is_bot:
            raise NotAllowedError("nobody acts as the bot")
        return person

    def _place(self, user: str, channel: str) -> Channel:
        person, place = self._person(user), self.workspace.channel(channel)
        if person.id not in place.members:
            raise NotAllowedError(f"{person.id} is not in {place.id}")
        return place

    def _own(self, user: str, message: Message) -> Message:
        current = self.workspace.message(message.channel, message.ts)
        if current.user != self._person(user).id:
            raise NotAllowedError("only own messages can be changed")
        return current

    def _open(self, user: str, view: View) -> View:
        current = self.workspace.view(view.id)
        if current.user != self._person(user).id:
            raise NotAllowedError(f"{view.id} is not open for {user}")
        return current

    async def _sent(self, person: User, channel: str, *payloads: Json) -> None:
        deliveries = [self._tell(payload) for payload in payloads]
        await asyncio.gather(*(delivery.first_answered.wait() for delivery in deliveries))
        if any(delivery.attempts and not delivery.accepted for delivery in deliveries):
            self._trouble(person, channel, "Switchboard did not take this message. Slack will try again.")

    def _warn(self, delivery: Delivery, person: User, channel: str | None) -> None:
        if not delivery.accepted:
            self._trouble(person, channel, DID_NOT_RESPOND)

    def _trouble(self, person: User, channel: str | None, text: str) -> None:
        self.workspace.notice("trouble", {"user": person.id, "channel": channel, "text": text})

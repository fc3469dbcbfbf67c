"""Takes in what Slack sends: messages, clicks, dialogs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from bot.core.commands import read_command
from bot.core.decide import Attempt, Verdict
from bot.core.editing import why_not
from bot.core.events import DecisionMade, DecisionRefused
from bot.core.hearing import is_heard
from bot.core.log import Log
from bot.core.people import Actor, People
from bot.core.protocols import DeliveryError
from bot.core.state import RequestState
from bot.core.values import RequestId, ThreadId
from bot.desks.commands import Commands, Where
from bot.desks.notices import Notices
from bot.runtime.inbox import Inbound, Inbox, UnknownThread
from bot.runtime.store import RedisAddresses
from channels.slack.client import SlackChannel
from channels.slack.dialogs import Place, ask_modal, deny_modal, edit_modal, read_metadata
from channels.slack.mrkdwn import escape, with_channels
from channels.slack.receive import SlackClick, SlackMessage, SlackSubmission, SlackUser, conversation_of, place_of
from channels.slack.receive import read_command as read_slash

logger = structlog.get_logger(__name__)

_STRANGER = (
    "I do not know you yet, so I did nothing. Ask whoever runs me to add you to the people file; your Slack id is {id}."
)
_VERDICTS: dict[str, Verdict] = {"approve": "approve", "deny": "deny", "ask": "ask", "edit": "edit"}
_DIALOGS = frozenset({"deny", "ask", "edit"})
_NO_COMMAND = (
    "That is no command; help lists them. For anything else mention me in a channel, or write me a direct message."
)
_NO_DIALOG = "Slack did not open the dialog. Nothing was decided; please press the button again."
_DIALOG_IN_DOUBT = (
    "Slack has not said whether it opened the dialog. Nothing was decided; where there is none, please press the "
    "button again."
)
_UNKNOWN_CARD = "I do not know this card any more. Please ask again in a new message."


class SlackDesk:
    """Takes Slack's input in."""

    def __init__(
        self,
        inbox: Inbox,
        channel: SlackChannel,
        people: Callable[[], People],
        commands: Commands,
        addresses: RedisAddresses,
        *,
        first_agent: str,
    ) -> None:
        self._inbox = inbox
        self._channel = channel
        self._people = people
        self._commands = commands
        self._addresses = addresses
        self._first_agent = first_agent
        self._notices = Notices()
        self._told: deque[str] = deque(maxlen=100)

    async def message(self, message: SlackMessage) -> None:
        """Start or continue a thread. Raises StoreUnavailable."""
        by = self._actor(message.user)
        if by.kind == "unknown" and not await self._is_heard(by, message):
            # Words of a stranger whom no policy lets in never reach a model, and nothing of theirs is kept.
            if message.addressed or await self._inbox.takes_part(message.conversation):
                self._tell(message)
                logger.info("stranger_refused", address=by.address)
            return
        await self._is_there(by)
        if await self._is_command(message, by):
            return
        inbound = Inbound(
            conversation=message.conversation,
            text=message.text,
            by=by,
            source=message.deliveries[0],
            deliveries=message.deliveries,
            may_launch=message.addressed,
        )
        received = await self._inbox.message(inbound, agent=self._first_agent)
        if received.outcome == "full":
            text = "This thread is too long for me to go on. Please start a new one."
            self._notices.send(self._channel.whisper(message.channel, "", message.user.id, text))
        if received.outcome != "ignored":
            logger.info("slack_message", thread=received.thread_id, outcome=received.outcome, by=by.id)

    async def click(self, click: SlackClick) -> None:
        """Decide, or ask for the reason first. Raises StoreUnavailable."""
        thread_id = await self._inbox.thread_of(click.conversation)
        by = self._actor(click.user)
        try:
            attempt = await self._attempt(thread_id, click, by)
            if attempt is None:
                return
            if attempt.verdict in _DIALOGS:
                log = await self._inbox.log(thread_id)
                found = self._inbox.would_be(log, attempt)
                if isinstance(found, DecisionMade):
                    await self._open_dialog(log, attempt, click)
                    return
                attempt = replace(attempt, problem=(found.rule, found.why))  # nothing was typed, so it never counts
            await self._decide(thread_id, attempt, click.delivery)
        except UnknownThread:
            await self._no_thread(by, click.ref.partition("/")[0], click.delivery)

    async def submission(self, submission: SlackSubmission) -> None:
        """A denial with its reason, a question, a changed call. Raises StoreUnavailable."""
        meta = read_metadata(submission.private_metadata)
        if submission.callback not in _DIALOGS or not {"request", "channel", "root", "ref"} <= meta.keys():
            return
        thread_id = await self._inbox.thread_of(conversation_of(meta["channel"], meta["root"]))
        attempt = Attempt(
            request_id=meta["request"],
            verdict=_VERDICTS[submission.callback],
            by=self._actor(submission.user),
            text=submission.values.get("question" if submission.callback == "ask" else "reason", "").strip()[:1_000],
            source=submission.delivery,
            ref=meta["ref"],
        )
        if submission.callback == "ask" and not attempt.text:
            attempt = replace(attempt, problem=("incomplete", "Please write your question. Nothing was decided."))
        if submission.callback == "edit":
            attempt = await self._edited(thread_id, attempt, submission)
        try:
            await self._decide(thread_id, attempt, submission.delivery)
        except UnknownThread:
            await self._no_thread(attempt.by, meta["channel"], submission.delivery)

    async def command(self, body: dict[str, Any]) -> str:
        """A slash command: what it answers is shown to that person alone. Raises StoreUnavailable."""
        command = read_slash(body)
        by = self._actor(command.user)
        if not is_heard(by, self._people()):
            return escape(_STRANGER.format(id=f"{command.user.team}/{command.user.id}"))
        answer = await self._commands.answer(command.text or "help", by, Where(command.delivery))
        return with_channels(answer.text) if answer else _NO_COMMAND

    async def close(self) -> None:
        """Let the notices that are under way get out."""
        await self._notices.close()

    async def _is_heard(self, by: Actor, message: SlackMessage) -> bool:
        people = self._people()
        if not is_heard(by, people):
            return False
        try:
            return is_heard(by, people, await self._inbox.log(await self._inbox.thread_of(message.conversation)))
        except UnknownThread:
            return True

    async def _is_command(self, message: SlackMessage, by: Actor) -> bool:
        """Whether it asked the bot itself something; then it is answered, to that person alone."""
        if read_command(message.text) is None:
            return False
        if not (message.addressed or await self._inbox.takes_part(message.conversation)):
            return False  # two people talking to each other
        thread_id = await self._inbox.thread_of(message.conversation) if message.in_thread else ""
        answer = await self._commands.answer(message.text, by, Where(message.deliveries[0], thread_id, shared=True))
        if answer and answer.text:
            self._whisper(message, answer.text)
        return answer is not None

    async def _attempt(self, thread_id: ThreadId, click: SlackClick, by: Actor) -> Attempt | None:
        verdict = _VERDICTS.get(click.action)
        if verdict:
            return Attempt(click.request_id, verdict, by, source=click.delivery, ref=click.ref)
        if click.action != "answer" or click.choice is None:
            return None  # a link button, or nothing of ours
        one = await self._request(thread_id, click.request_id)
        choices = one.request.choices if one else ()
        text = choices[click.choice] if click.choice < len(choices) else ""
        return Attempt(click.request_id, "answer", by, text=text, source=click.delivery, ref=click.ref)

    async def _request(self, thread_id: ThreadId, request_id: RequestId) -> RequestState | None:
        return (await self._inbox.log(thread_id)).state.requests.get(request_id)

    async def _edited(self, thread_id: ThreadId, attempt: Attempt, submission: SlackSubmission) -> Attempt:
        typed = {
            block.removeprefix("argument:"): text
            for block, text in submission.values.items()
            if block.startswith("argument:")
        }
        try:
            arguments = self._inbox.edited(await self._inbox.log(thread_id), attempt.request_id, typed)
        except UnknownThread:
            return attempt
        except ValueError as error:
            why = why_not(error)
            return replace(attempt, problem=("arguments", why))
        return replace(attempt, arguments=arguments)

    async def _open_dialog(self, log: Log, attempt: Attempt, click: SlackClick) -> None:
        """Ask for what belongs to a decision that would count; if Slack does not open it, the person is told."""
        one = log.state.requests[attempt.request_id].request
        channel, root_ts = place_of(click.conversation)
        title = one.preview.title if one.preview else one.prompt
        place = Place(attempt.request_id, channel, root_ts, click.ref)
        if attempt.verdict == "edit":
            modal = edit_modal(place, title, self._inbox.editable(log, attempt.request_id))
        else:
            modal = ask_modal(place, title) if attempt.verdict == "ask" else deny_modal(place, title)
        try:
            await self._channel.open_view(click.trigger_id, modal)
        except DeliveryError as error:
            logger.warning("modal_not_opened", thread=log.thread_id, error=error.error)
            text = _DIALOG_IN_DOUBT if error.in_doubt else _NO_DIALOG
            self._notices.send(self._channel.whisper(channel, root_ts, click.user.id, text))

    async def _decide(self, thread_id: ThreadId, attempt: Attempt, delivery: str) -> None:
        await self._is_there(attempt.by)
        log, event = await self._inbox.decide(thread_id, attempt, deliveries=(delivery,))
        if isinstance(event, DecisionRefused) and not log.has(event):
            user_id = attempt.by.address.rpartition("/")[2]
            self._notices.send(self._channel.whisper(attempt.ref.partition("/")[0], "", user_id, event.why))
        outcome = event.type if event else "duplicate"
        logger.info("slack_decision", thread=thread_id, outcome=outcome, verdict=attempt.verdict, by=attempt.by.id)

    async def _no_thread(self, by: Actor, channel: str, delivery: str) -> None:
        """A card whose thread is forgotten, or never was: the person is told, and the attempt is on record (AP16)."""
        await self._inbox.refuse(by.address, "unknown", "a button of a card of no thread", source=delivery)
        user_id = by.address.rpartition("/")[2]
        self._notices.send(self._channel.whisper(channel, "", user_id, _UNKNOWN_CARD))

    async def _is_there(self, by: Actor) -> None:
        """Whoever writes or clicks here is here: what Slack refused to bring them before may reach them again."""
        if by.kind == "person" and await self._addresses.turn_on(by.address):
            logger.info("address_on", address=by.address)

    def _actor(self, user: SlackUser) -> Actor:
        return self._people().actor(
            user.address, name=user.name, authenticated_by="slack-signature", external=user.external
        )

    def _tell(self, message: SlackMessage) -> None:
        if message.deliveries[0] in self._told:
            return  # of a mention we hear twice (SL7), and nothing of a stranger is in the store
        self._told.append(message.deliveries[0])
        user = message.user
        self._whisper(message, _STRANGER.format(id=f"{user.team}/{user.id}"))

    def _whisper(self, message: SlackMessage, text: str) -> None:
        # Slack shows an ephemeral reply only in a thread that has replies already.
        root_ts = place_of(message.conversation)[1] if message.in_thread else ""
        self._notices.send(self._channel.whisper(message.channel, root_ts, message.user.id, text))

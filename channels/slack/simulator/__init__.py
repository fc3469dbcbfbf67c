"""A stateful Slack counterpart on loopback, for `make dev` and the tests.

It enforces Slack's limits and errors so that what works here works there. It imports nothing of the bot: the bot is
reached as Slack reaches it, over HTTP or Socket Mode.
"""

from channels.slack.simulator.acting import DID_NOT_RESPOND, NotAllowedError, NotSubmittedError
from channels.slack.simulator.app import SimulatedSlack
from channels.slack.simulator.delivery import Attempt, Delivery
from channels.slack.simulator.elements import NotThereError
from channels.slack.simulator.faults import LostAnswer, RateLimited, Refused, ServerError, Slow
from channels.slack.simulator.records import Channel, File, Message, User, View
from channels.slack.simulator.sample import sample_workspace
from channels.slack.simulator.serving import serve
from channels.slack.simulator.workspace import UnknownError, Workspace

__all__ = [
    "DID_NOT_RESPOND",
    "Attempt",
    "Channel",
    "Delivery",
    "File",
    "LostAnswer",
    "Message",
    "NotAllowedError",
    "NotSubmittedError",
    "NotThereError",
    "RateLimited",
    "Refused",
    "ServerError",
    "SimulatedSlack",
    "Slow",
    "UnknownError",
    "User",
    "View",
    "Workspace",
    "sample_workspace",
    "serve",
]

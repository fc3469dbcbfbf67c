"""A mail server on loopback, for `make dev` and the tests: the organisation that the bot and its people are part of.

It imports nothing of the bot: the bot hands mail in over SMTP, and gets mail from it over SMTP.
"""

from channels.email.simulator.office import SimulatedMail
from channels.email.simulator.reception import MAX_SIZE_BYTES, Security
from channels.email.simulator.records import Mailbox, StoredMail
from channels.email.simulator.serving import Ports, serve

__all__ = [
    "MAX_SIZE_BYTES",
    "Mailbox",
    "Ports",
    "Security",
    "SimulatedMail",
    "StoredMail",
    "serve",
]

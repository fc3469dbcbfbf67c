"""A stateful Twilio counterpart on loopback, for `make dev` and the tests: REST, webhooks, and phones.

It enforces Twilio's limits and errors so that what works here works there. It imports nothing of the bot but the count
of segments: the bot is reached as Twilio reaches it, over HTTP.
"""

from channels.sms.simulator.app import SimulatedTwilio
from channels.sms.simulator.carrier import Callback, Trouble
from channels.sms.simulator.records import Text
from channels.sms.simulator.serving import serve
from channels.sms.simulator.signing import signature

__all__ = ["Callback", "SimulatedTwilio", "Text", "Trouble", "serve", "signature"]

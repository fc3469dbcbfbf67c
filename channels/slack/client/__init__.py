"""The only place that knows Slack's SDK: `web` sends, `events` takes in."""

from __future__ import annotations

from channels.slack.client.events import SlackEvents, SlackReply, SlackSink
from channels.slack.client.web import SlackChannel

__all__ = ["SlackChannel", "SlackEvents", "SlackReply", "SlackSink"]

"""The app manifest to paste into Slack: scopes, events and interactivity, for HTTP or for Socket Mode. Pure."""

from __future__ import annotations

import re
from typing import Any

BOT_SCOPES = (
    "app_mentions:read",  # being mentioned
    "channels:history",  # replies in threads of public channels
    "groups:history",  # and of private ones
    "im:history",  # direct messages
    "mpim:history",
    "im:write",  # finding the direct message in which a copy may have arrived
    "chat:write",  # answers and cards
    "commands",  # the slash command
)
BOT_EVENTS = ("app_mention", "message.channels", "message.groups", "message.im", "message.mpim")


def manifest(*, name: str = "Switchboard", public_url: str = "", socket_mode: bool = False) -> dict[str, Any]:
    """The manifest. `public_url` is needed unless it is for Socket Mode."""
    address = f"{public_url.rstrip('/')}/slack/events"
    subscriptions: dict[str, Any] = {"bot_events": list(BOT_EVENTS)}
    interactivity: dict[str, Any] = {"is_enabled": True}
    slash_command: dict[str, Any] = {
        "command": f"/{command_name(name)}",
        "description": "What waits for you, how things stand, who you are here",
        "usage_hint": "help | pending | status | cancel ID | whoami",
        "should_escape": False,
    }
    if not socket_mode:
        subscriptions["request_url"] = address
        interactivity["request_url"] = address
        slash_command["url"] = address
    return {
        "_metadata": {"major_version": 1, "minor_version": 1},
        "display_information": {
            "name": name,
            "description": "Deploys and answers, with a person's approval where it matters.",
            "background_color": "#1f2a44",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": False,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": name.lower(), "always_online": True},
            "slash_commands": [slash_command],
        },
        "oauth_config": {"scopes": {"bot": list(BOT_SCOPES)}},
        "settings": {
            "event_subscriptions": subscriptions,
            "interactivity": interactivity,
            "org_deploy_enabled": False,
            "socket_mode_enabled": socket_mode,
            "token_rotation_enabled": False,
        },
    }


def command_name(name: str) -> str:
    """The bot's name as a slash command takes it: lower-case letters, digits, hyphens and underscores, 31 at most."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:31]
    return plain or "switchboard"

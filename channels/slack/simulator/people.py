"""Small rules about people: how what they type becomes what Slack sends.

Pure. Nobody becomes the bot here: a mention is only ever text.
"""

import re

from channels.slack.simulator.workspace import Workspace

_ENTITY = r"<(?:@[UW]\w+|#C\w+|!\w+|https?://[^>\s]+|mailto:[^>\s]+)(?:\|[^>]*)?>"
_URL = r"https?://[^\s<>]+[^\s<>.,;:!?)\]]"


def wire_text(workspace: Workspace, typed: str) -> str:
    """What a person typed, as Slack hands it to apps.

    "@bot", "@switchboard", "@ana" and "#deploys" become entities, addresses are put in angle brackets, `& < >` are
    escaped, and entities that were typed out (`<@U0BOT>`) stay as they are.
    """
    names = {user.name.lower(): f"<@{user.id}>" for user in workspace.users.values()}
    names["bot"] = f"<@{workspace.bot.id}>"
    names |= {user.real_name.lower(): f"<@{user.id}>" for user in workspace.users.values()}
    channels = {c.name.lower(): f"<#{c.id}|{c.name}>" for c in workspace.channels.values() if not c.is_im}
    people = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    places = "|".join(re.escape(name) for name in sorted(channels, key=len, reverse=True))
    parts = re.compile(
        rf"(?P<entity>{_ENTITY})|(?P<url>{_URL})|(?<!\w)@(?P<person>{people})\b|(?<!\w)#(?P<place>{places})\b"
        r"|(?<!\w)@(?P<everybody>channel|here)\b|(?P<other>[&<>])",
        re.IGNORECASE,
    )
    escapes = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

    def wired(match: re.Match[str]) -> str:
        found = match[0]
        match match.lastgroup:
            case "person":
                return names[found[1:].lower()]
            case "place":
                return channels[found[1:].lower()]
            case "url":
                return f"<{found.replace('&', '&amp;')}>"
            case "everybody":
                return f"<!{found[1:].lower()}>"
            case "other":
                return escapes[found]
            case _:
                return found

    return parts.sub(wired, typed)

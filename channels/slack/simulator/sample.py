"""The workspace that `make dev` starts with: a small team, a guest of a partner, two channels and the bot.

Only made-up people live here.
"""

from collections.abc import Callable

from channels.slack.simulator.records import Channel, User
from channels.slack.simulator.workspace import Workspace

ACME, PARTNER = "T0ACME", "T0PARTNER"

PEOPLE = (
    User(id="U0ANA", name="ana", real_name="Ana Ruiz", title="Engineer", team_id=ACME, color="c2563f"),
    User(id="U0LENA", name="lena", real_name="Lena Vogt", title="Engineering lead", team_id=ACME, color="2f7d6b"),
    User(id="U0OMAR", name="omar", real_name="Omar Haddad", title="Site reliability", team_id=ACME, color="4a63b8"),
    User(id="U0GIL", name="gil", real_name="Gil Park", title="Partner guest", team_id=PARTNER, color="8a5a9e"),
)
BOT = User(id="U0BOT", name="switchboard", real_name="Switchboard", team_id=ACME, is_bot=True, color="1f2a44")


def sample_workspace(now: Callable[[], float]) -> Workspace:
    """A fresh workspace "Acme" with #deploys, #general and a direct conversation with the bot for each person."""
    everybody = (*(person.id for person in PEOPLE), BOT.id)
    direct = (
        Channel(id=f"D{person.id[1:]}", name=person.name, is_im=True, members=(person.id, BOT.id)) for person in PEOPLE
    )
    return Workspace(
        team_id=ACME,
        team_name="Acme",
        users=(*PEOPLE, BOT),
        channels=(
            Channel(id="C0DEPLOYS", name="deploys", members=everybody),
            Channel(id="C0GENERAL", name="general", members=everybody),
            *direct,
        ),
        now=now,
    )

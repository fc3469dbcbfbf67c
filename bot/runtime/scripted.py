"""A stand-in for the model: it plays a conversation from readable rules that lie beside the agent.

It lets a newcomer try the whole way without a key, and tests drive agents with it. It understands nothing: the first
rule that fits the newest event wins.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, field_validator

from bot.core import events as e
from bot.core.agent import Agent
from bot.core.builtins import ANSWER, DONE_FOR_NOW, WAIT
from bot.core.log import Log
from bot.core.protocols import Choice
from bot.core.values import Usage

NAME = "scripted rules (no model)"
_DECIDED = {"deny": "denied", "answer": "answer", "approve": "approved", "ask": "asked back", "edit": "changed"}
_ABOUT_A_CALL = frozenset({ANSWER, WAIT})


@dataclass(frozen=True)
class Cue:
    """The newest event, as the rules see it."""

    kinds: tuple[str, ...]
    text: str
    by: str


class Rule(BaseModel):
    """When this happened, and its text matches, choose that call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: str | list[str]
    """What happened: `message`, `message while waiting`, `answer`, `result`, `error`, `denied`, `asked back`,
    `timed out`, `handed off`, `waited`; for those about a tool also with its name, as in `result deploy`."""
    matches: str = ""
    """A regular expression to be found in the text, whatever its case; the arguments may use its named groups."""
    message_matches: str = ""
    """As `matches`, in the newest message that was not an answer."""
    call: str
    arguments: dict[str, Any] = {}
    """May use `{text}`, its `{first_line}`, `{by}`, `{message}`, `{last_<argument>}` of the newest call, and the
    named groups. A rule with a placeholder that nothing fills does not fit."""

    @field_validator("matches", "message_matches")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value

    def fits(self, cue: Cue, message: str) -> dict[str, str] | None:
        """The named groups, where the rule fits."""
        kinds = {self.on} if isinstance(self.on, str) else set(self.on)
        in_text = re.search(self.matches, cue.text, re.IGNORECASE | re.DOTALL)
        in_message = re.search(self.message_matches, message, re.IGNORECASE | re.DOTALL)
        if not kinds & set(cue.kinds) or in_text is None or in_message is None:
            return None
        return {key: value or "" for key, value in (in_message.groupdict() | in_text.groupdict()).items()}


class ScriptedModel:
    """Chooses by the rules of the agent's script."""

    @property
    def name(self) -> str:
        """Says plainly that there is no model."""
        return NAME

    async def ping(self) -> None:
        """It is always there."""

    async def close(self) -> None:
        """It holds nothing."""

    async def choose(self, agent: Agent, log: Log) -> Choice:
        """The call of the first rule that fits."""
        cue = _cue(log)
        message = _message(log)
        for rule in rules_of(agent.script):
            groups = rule.fits(cue, message)
            if groups is None:
                continue
            names = {
                "text": cue.text,
                "first_line": cue.text.partition("\n")[0],
                "by": cue.by,
                "message": message,
                **_last_arguments(log),
                **groups,
            }
            try:
                arguments = cast("dict[str, Any]", _filled(rule.arguments, names))
            except KeyError:  # nobody is shown a placeholder
                continue
            return Choice(tool=rule.call, arguments=arguments, usage=Usage(model="scripted", cost_usd=0.0))
        sorry = {"message": f"No rule of the scripted stand-in covers this ({cue.kinds[-1]})."}
        return Choice(tool=DONE_FOR_NOW, arguments=sorry, usage=Usage(model="scripted", cost_usd=0.0))


@lru_cache(maxsize=32)
def rules_of(script: str) -> tuple[Rule, ...]:
    """Read a script. Raises ValueError where it is not one."""
    return tuple(Rule.model_validate(rule) for rule in tomllib.loads(script).get("rule", []))


def _cue(log: Log) -> Cue:
    state = log.state
    event = log.events[state.heard - 1] if state.heard else log.events[-1]
    tool = _tool_of(event, log)
    match event:
        case e.MessageReceived():
            kind = "answer" if _is_answer(event, log) else "message while waiting" if state.call else "message"
            return Cue((kind,), event.text, event.by.name)
        case e.ToolFinished():
            return Cue(("result", f"result {tool}"), event.result, "")
        case e.ToolFailed():
            return Cue(("error", f"error {tool}"), event.error, "")
        case e.CallRefused():
            return Cue(("error", f"error {tool}"), event.why, "")
        case e.DecisionMade():
            kind = _DECIDED[event.verdict]
            return Cue((kind,), event.text, event.by.name)
        case e.RequestExpired():
            return Cue(("timed out",), "", "")
        case e.HandedOff():
            return Cue(("handed off",), event.brief, "")
        case e.WaitEnded():
            return Cue(("waited",), "", "")
        case _:
            return Cue((event.type,), "", "")


def _message(log: Log) -> str:
    said = [event for event in log.events if isinstance(event, e.MessageReceived) and not _is_answer(event, log)]
    return said[-1].text if said else ""


def _is_answer(event: e.MessageReceived, log: Log) -> bool:
    """Whether this message answered a question."""
    answers = (one for one in log.state.requests.values() if one.status == "answered")
    return any((one.decided_at, one.decided_by, one.text) == (event.at, event.by, event.text) for one in answers)


def _last_arguments(log: Log) -> dict[str, str]:
    """The arguments of the newest call: as it was chosen, and over that as it would run, once that is known.

    What the agent said about a call that waits (`answer_approver`, `wait`) is no newer call.
    """
    arguments: dict[str, Any] = {}
    for event in log.events:
        if isinstance(event, e.ToolChosen) and event.tool not in _ABOUT_A_CALL:
            arguments = event.arguments
        elif isinstance(event, e.CallPrepared):
            arguments = {**arguments, **event.prepared.arguments}
    return {f"last_{key}": str(value) for key, value in arguments.items()}


def _tool_of(event: e.Event, log: Log) -> str:
    if not isinstance(event, e.ToolFinished | e.ToolFailed | e.CallRefused):
        return ""
    chosen = log.events[int(event.call_id.split(":")[1]) - 1]
    return chosen.tool if isinstance(chosen, e.ToolChosen) else ""


def _filled(template: object, names: dict[str, str]) -> object:
    """The template with its placeholders filled. Raises KeyError where one has no value."""
    match template:
        case str():
            return re.sub(r"\{(\w+)\}", lambda name: names[name[1]], template)
        case dict():
            return {key: _filled(value, names) for key, value in cast("dict[str, object]", template).items()}
        case list():
            return [_filled(value, names) for value in cast("list[object]", template)]
        case _:
            return template

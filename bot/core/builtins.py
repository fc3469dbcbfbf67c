"""The tools that every agent has: talking to people, ending, waiting, handing over. They carry the canon's names.

They are structured output like any other tool; the policy carries them out, so they have no `run`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

REQUEST_HUMAN_INPUT = "request_human_input"
DONE_FOR_NOW = "done_for_now"
WAIT = "wait"
HAND_OFF = "hand_off"
ANSWER = "answer_approver"

GO_ON = "Go on"
STOP = "Stop"
IT_RAN = "It ran and succeeded"
IT_FAILED = "It ran and failed"
IT_DID_NOT_RUN = "It did not run"


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class HumanInputOptions(_Arguments):
    """How the question is put."""

    urgency: Literal["low", "medium", "high"] = Field(default="medium", description="How soon an answer is needed.")
    format: Literal["free_text", "yes_no", "multiple_choice"] = Field(
        default="free_text", description="free_text: a reply in words. yes_no, multiple_choice: buttons."
    )
    choices: list[str] = Field(
        default_factory=list[str],
        max_length=20,
        description="The choices, for multiple_choice only: 2 to 20 short texts.",
    )


class RequestHumanInput(_Arguments):
    """Ask the people in the conversation a question and wait for the answer. It never approves anything."""

    question: str = Field(min_length=1, max_length=2000, description="The question, one or two sentences.")
    context: str = Field(default="", max_length=4000, description="What they need to know to answer it.")
    options: HumanInputOptions = Field(default_factory=HumanInputOptions)


class DoneForNow(_Arguments):
    """Give the final answer, or say what was done. Ends the run; a further message starts the next one."""

    message: str = Field(min_length=1, max_length=40_000, description="What the people are told, in Markdown.")


class Wait(_Arguments):
    """Wait: for some minutes, or for the request that is still open.

    After a new message, this is how to keep to what is already under way.
    """

    reason: str = Field(default="", max_length=500, description="What is waited for.")
    minutes: int | None = Field(default=None, ge=1, le=7 * 24 * 60, description="Leave out to wait for people.")


class HandOff(_Arguments):
    """Pass the conversation to another agent that fits it better."""

    agent: str = Field(description="The agent's name.")
    brief: str = Field(min_length=1, max_length=2000, description="What it should do, in one or two sentences.")


class AnswerApprover(_Arguments):
    """Answer what an approver asked about the call that you proposed. They are then asked again, with your answer.

    To propose something else instead, call that tool.
    """

    answer: str = Field(min_length=1, max_length=2000, description="The answer, in a few plain sentences.")


@dataclass(frozen=True)
class Builtin:
    """A tool that the policy carries out itself."""

    name: str
    arguments: type[BaseModel]

    @property
    def description(self) -> str:
        """What the model reads."""
        return " ".join((self.arguments.__doc__ or "").split())


BUILTINS: tuple[Builtin, ...] = (
    Builtin(REQUEST_HUMAN_INPUT, RequestHumanInput),
    Builtin(DONE_FOR_NOW, DoneForNow),
    Builtin(WAIT, Wait),
    Builtin(HAND_OFF, HandOff),
    Builtin(ANSWER, AnswerApprover),
)

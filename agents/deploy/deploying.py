"""The deploy agent's writing tools: `deploy` and `rollback`.

A reference is resolved to a commit before anybody approves it, and exactly that commit is deployed, over exactly the
release that the card named, or nothing is. `rollback` goes to a release that is older than what runs, never elsewhere.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agents.deploy.command import Command, CommandResult, RunError, RunLost, has_begun, is_running, run_once
from agents.deploy.environments import Environment
from agents.deploy.going_back import must_be_older, must_still_be_older, tag_before
from agents.deploy.repository import Commit, Comparison, RepositoryError
from agents.deploy.world import World, day, listed, named
from bot.core.tool import AnyTool, OutcomeUnknown, PrepareContext, Tool, ToolContext, ToolError, ToolResult
from bot.core.values import ApprovalRule, Fact, Prepared, Preview, Ruling, may_run, must_not_run, needs_approval
from bot.core.wording import cut, plural

_LONGEST_SECONDS = 90_000.0
"""The deploy file limits each command; this only has to be longer than it allows."""


class Deploy(BaseModel):
    """Deploy a release to an environment. Whether people have to approve is decided by the environment's rules."""

    model_config = ConfigDict(extra="forbid")
    reference: str = Field(min_length=1, max_length=200, description="A tag, a branch or a commit.")
    environment: str = Field(min_length=1, max_length=31, description="Where to, such as staging or production.")


class Rollback(BaseModel):
    """Go back to a release that is older than what runs on an environment. To any other release, deploy it."""

    model_config = ConfigDict(extra="forbid")
    environment: str = Field(min_length=1, max_length=31, description="Where, such as production.")
    reference: str = Field(
        default="", max_length=200, description="The older release; leave out for the tag before the one that runs."
    )


class ExactDeploy(BaseModel):
    """What runs after an approval: nothing in it can come to mean something else."""

    model_config = ConfigDict(extra="forbid")
    environment: str
    reference: Annotated[str, Field(json_schema_extra={"pinned_by": "commit"})]
    """As it was asked for. The same commit has other names, so a policy that names one does not hold for it."""
    commit: str
    """Full sha of what is deployed."""
    replaces: str
    """Full sha of what runs now; empty where nothing does. Something else there means that the card is out of date."""
    rules: str
    """Digest of the environment's entry in the deploy file: an approval holds for this command and these rules only."""


def writing_tools(world: World) -> tuple[AnyTool, ...]:
    """The tools, on this world."""

    async def prepare_deploy(chosen: Deploy, context: PrepareContext) -> Prepared:
        return await _prepared(world, chosen.environment, chosen.reference, context)

    async def prepare_rollback(chosen: Rollback, context: PrepareContext) -> Prepared:
        reference = chosen.reference or await tag_before(world, chosen.environment)
        return await _prepared(world, chosen.environment, reference, context, back=True)

    async def run_deploy(exact: ExactDeploy, context: ToolContext) -> ToolResult:
        return await _run(world, exact, context)

    async def run_rollback(exact: ExactDeploy, context: ToolContext) -> ToolResult:
        return await _run(world, exact, context, back=True)

    return (
        Tool(
            "deploy", Deploy, run_deploy, prepare=prepare_deploy, exact=ExactDeploy,
            writes=True, recovery="attach", time_limit_seconds=_LONGEST_SECONDS,
        ),
        Tool(
            "rollback", Rollback, run_rollback, prepare=prepare_rollback, exact=ExactDeploy,
            writes=True, recovery="attach", time_limit_seconds=_LONGEST_SECONDS,
        ),
    )  # fmt: skip


async def _prepared(
    world: World, name: str, reference: str, context: PrepareContext, *, back: bool = False
) -> Prepared:
    environment = await world.environment(name)
    try:
        await world.source().refresh()
        commit = await world.resolve(reference)
        current = await world.current(environment)
        found = await world.source().compare(current.sha, commit.sha, 15) if current else None
        tags = await world.tag_names()
    except RepositoryError as error:
        raise ToolError(str(error)) from error
    if back:
        await must_be_older(world, name, reference, commit, current, found=found, tags=tags)
    exact = ExactDeploy(
        environment=name,
        reference=reference,
        commit=commit.sha,
        replaces=current.sha if current else "",
        rules=rules_of(environment),
    )
    return Prepared(
        arguments=exact.model_dump(),
        preview=_preview("Roll back to" if back else "Deploy", exact, commit, current, found=found, tags=tags),
        ruling=_ruling(environment, context),
    )


def _ruling(environment: Environment, context: PrepareContext) -> Ruling:
    if not context.requesters or any(one.kind == "unknown" for one in context.requesters):
        return must_not_run(f"Nobody knows who asked for this, so it is not deployed to {environment.name}.")
    for one in context.requesters:
        if one.kind == "person" and not one.roles & set(environment.requesters):
            allowed = ", ".join(environment.requesters)
            first = one is context.requesters[0]
            why = f"{one.name} may not deploy to {environment.name}{'' if first else ', and had a say in this'}. "
            return must_not_run(
                f"{why}It takes one of the roles: {allowed}. Somebody who has one can ask in a new thread."
            )
    return ruling_of(environment)


def ruling_of(environment: Environment) -> Ruling:
    """What the deploy file says of a deploy to this environment, for those who may ask for one."""
    if not environment.approvals:
        return may_run()
    return needs_approval(
        ApprovalRule(
            risk=environment.risk,
            roles=environment.approving_roles,
            persons=environment.approving_persons,
            approvals=environment.approvals,
            four_eyes=environment.four_eyes,
            channels=environment.channels,
            life_seconds=environment.approval_life_seconds,
            reminders=environment.reminders,
            escalation=environment.escalation_steps(),
        )
    )


def _preview(
    verb: str,
    exact: ExactDeploy,
    commit: Commit,
    current: Commit | None,
    *,
    found: Comparison | None,
    tags: dict[str, str],
) -> Preview:
    facts = [
        Fact(label="Environment", value=exact.environment),
        Fact(label="Release", value=cut(f"{exact.reference} ({commit.short})", 300)),
        Fact(label="Commit", value=f"{commit.subject} — {commit.author}, {day(commit.authored_at)}"),
        Fact(label="Runs now", value=f"{named(current, tags)}: {current.subject}" if current else "nothing"),
    ]
    warnings: list[str] = []
    details = ""
    if found and current:
        size = f"{plural(found.files_changed, 'file')}, +{found.insertions} −{found.deletions}"
        commits = [f"{plural(found.ahead, 'new commit')}"] if found.ahead else []
        commits += [f"{plural(found.behind, 'commit')} undone"] if found.behind else []
        facts.append(Fact(label="Changes", value=", ".join([*commits, size]) if commits else "none"))
        if commit.sha == current.sha:
            warnings.append("Exactly this already runs there.")
        elif found.older:
            warnings.append(f"This is older than what runs: {plural(found.behind, 'commit')} will be undone.")
        elif found.behind:
            warnings.append(f"This is on another line than what runs: {plural(found.behind, 'commit')} will be undone.")
        parts = [listed(found.commits, found.ahead)] if found.ahead else []
        parts += [f"Undone:\n{listed(found.undone, found.behind)}"] if found.behind else []
        details = "\n\n".join(parts)
    title = cut(f"{verb} {exact.reference}" + (" on " if verb.startswith("Roll") else " to ") + exact.environment, 150)
    return Preview(title=title, facts=tuple(facts), warnings=tuple(warnings), details=details)


async def _run(world: World, exact: ExactDeploy, context: ToolContext, *, back: bool = False) -> ToolResult:
    environment = await world.environment(exact.environment)
    if await asyncio.to_thread(has_begun, world.runs, context.key):
        return await _carried_out(world, environment, exact, context)  # follow it to its end
    if not context.may_begin:
        message = "Not deployed: it had not begun when its worker stopped, and by now it may not begin any more."
        raise ToolError(message, summary="it had not begun")
    async with _alone(world, environment, context.key):
        await _still_as_shown(world, environment, exact)
        if back:
            await must_still_be_older(world, environment.name, exact.commit, exact.replaces)
        return await _carried_out(world, environment, exact, context)


async def _carried_out(world: World, environment: Environment, exact: ExactDeploy, context: ToolContext) -> ToolResult:
    tree = world.checkouts / hashlib.sha256(context.key.encode()).hexdigest()[:24]
    try:
        tree.parent.mkdir(parents=True, exist_ok=True)
        await world.source().checkout(exact.commit, tree)
        words = environment.deploy_command(commit=exact.commit, reference=exact.reference, run=context.key)
        command = Command(words, tree, environment.time_limit_seconds)
        result = await run_once(world.runs, context.key, command, on_output=context.output)
    except RunLost as error:
        raise OutcomeUnknown(f"The deploy command was started and its end is not known. {error}") from error
    except (RepositoryError, RunError) as error:
        raise ToolError(str(error), summary="it could not be started") from error
    await asyncio.to_thread(shutil.rmtree, tree, ignore_errors=True)
    return await _outcome(world, environment, exact, result)


async def _still_as_shown(world: World, environment: Environment, exact: ExactDeploy) -> None:
    if exact.rules != rules_of(environment):
        message = f"Not deployed: what deploy.toml says of {environment.name} has changed since this was prepared."
        raise ToolError(message, summary="deploy.toml changed in the meantime")
    current = await world.current(environment)
    if (current.sha if current else "") != exact.replaces:
        now = current.short if current else "nothing"
        message = (
            f"Not deployed: {environment.name} now runs {now}, which is not what it ran when this was prepared "
            f"({exact.replaces[:7] or 'nothing'}). Prepare it again, so that people see what would change."
        )
        raise ToolError(message, summary=f"{environment.name} changed in the meantime")


async def _outcome(world: World, environment: Environment, exact: ExactDeploy, result: CommandResult) -> ToolResult:
    last = "\n".join(result.last_lines)
    if result.timed_out or result.exit_code != 0:
        how = "was stopped at its time limit" if result.timed_out else _ending(result)
        raise ToolError(
            f"The deploy command {how} after {result.seconds:.1f} s. Its last lines:\n{last}",
            summary=f"the deploy command {how}",
            seconds=result.seconds,
            output_bytes=result.output_bytes,
        )
    current = await world.current(environment)
    if current is None or current.sha != exact.commit:
        raise ToolError(
            f"The deploy command ended without an error, but {environment.name} reports "
            f"{current.short if current else 'nothing'} and not {exact.commit[:7]}. Its last lines:\n{last}",
            summary=f"{environment.name} does not report the new release",
            seconds=result.seconds,
            output_bytes=result.output_bytes,
        )
    done = f"{exact.reference} ({exact.commit[:7]}) runs on {environment.name}"
    return ToolResult(
        f"{done}. It took {result.seconds:.1f} s.\nThe last lines of the output:\n{last}",
        summary=done,
        seconds=result.seconds,
        output_bytes=result.output_bytes,
    )


def _ending(result: CommandResult) -> str:
    return f"was ended by signal {result.signal}" if result.signal else f"failed with exit code {result.exit_code}"


@asynccontextmanager
async def _alone(world: World, environment: Environment, key: str) -> AsyncGenerator[None]:
    """One deploy at a time for an environment on this machine; across machines, `replaces` is the guard.

    A lock goes with the worker that holds it, a deploy command does not: so the run that began last is noted too.
    """
    locks = world.data_dir / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    noted = locks / f"{environment.name}.run"
    busy = ToolError(
        f"Not deployed: another deploy to {environment.name} is running. Try again when it is done.",
        summary="another deploy is running",
    )
    file = os.open(locks / f"{environment.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy from error
        last = noted.read_text() if noted.exists() else ""
        if last and last != key and is_running(world.runs, last):
            raise busy
        noted.write_text(key)
        yield
    finally:
        os.close(file)


def rules_of(environment: Environment) -> str:
    """SHA-256 (hex) of what the deploy file says of an environment: the command, and who decides."""
    return hashlib.sha256(environment.model_dump_json().encode()).hexdigest()

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import BOT_ADDRESS, PEOPLE, PHONES, Bench, bench
from typer.testing import CliRunner, Result

from bot.app import Switchboard
from bot.cli.audit import app
from bot.core.protocols import StoreUnavailable
from bot.core.tokens import LENGTH, read_token
from bot.runtime.store import keys
from bot.settings import Settings
from channels.email.record import RawMail

ANA, LENA = PHONES["ana"], PHONES["lena"]


@dataclass
class Desk:
    """A bench, and a shell beside it."""

    found: Bench
    file: Path

    async def bot(self, *words: str, code: int = 0) -> Result:
        """`bot audit …`, in a thread of its own, as it has its own event loop."""

        def assemble(settings: Settings, url: str) -> Switchboard:
            return Switchboard.assemble(settings, url, clock=self.found.clock)

        done = await asyncio.to_thread(CliRunner().invoke, app, words, obj=assemble, catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done

    async def export(self) -> list[dict[str, Any]]:
        await self.bot("export", str(self.file))
        return [json.loads(line) for line in self.file.read_bytes().splitlines()]


@pytest.fixture
async def desk(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Desk]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SECRET_KEY", "a secret of the tests")
    monkeypatch.setenv("PEOPLE_FILE", str(PEOPLE))
    monkeypatch.setenv("COLUMNS", "200")
    async with bench(redis_url, tmp_path, mail=True, sms=True) as found:
        yield Desk(found, tmp_path / "audit.jsonl")


def codes_in(text: str) -> list[str]:
    return re.findall(r"(?:YES|NO|ASK) (\d{6})", text)


async def deployed_by_text(found: Bench) -> list[str]:
    """Ana asks and Lena approves by text, after tries that do not count. Gives every code that was sent or tried."""
    await found.twilio.text(ANA, "deploy v1.4.0 to production")
    (asked,) = await found.sms("lena", 1)
    (also,) = await found.sms("omar", 1)
    (code,), (other,) = set(codes_in(asked.body)), set(codes_in(also.body))
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    await found.twilio.text(LENA, f"YES {wrong}")
    await found.twilio.text(PHONES["eve"], f"YES {code}")
    await found.twilio.text(LENA, f"YES {code}")
    await found.over()
    return [code, other, wrong]


async def denied_in_slack(found: Bench) -> str:
    """Ana asks, may not approve it herself, says ok; Lena denies it, and says why. Gives the id of the request."""
    asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.3.1 to production, gracefully")
    card = await found.card(asked)
    await found.slack.click("ana", card, "approve")
    await found.slack.say("ana", "#deploys", "ok", thread_ts=asked.ts)
    await found.slack.click("lena", card, "deny")
    (view,) = found.slack.views("lena")
    await found.slack.submit("lena", view, {"reason": {"text": "the moon is wrong"}})
    log = await found.settled(asked, lambda log: log.state.status == "finished")
    await found.slack.click("omar", card, "approve")
    (request,) = log.state.requests
    return request


async def deployed_by_mail(found: Bench) -> list[str]:
    """Ana asks by mail, Lena approves on the page that her mail links to. Gives links and tokens."""
    await found.mail.write("eve@acme.example", BOT_ADDRESS, "hello", "Launch the missiles, would you kindly?")
    await found.mail.write(
        "ana@acme.example", BOT_ADDRESS, "Release", "Hello,\n\ndeploy v1.3.2 to production\n\nThanks"
    )
    (asked,) = await found.mails("lena", 1)
    link = re.search(r"http://bot\.test(/decide/(\S+))", asked.text)
    assert link, asked.text
    await found.http.post(link[1], data={"verdict": "approve"})
    await found.over()
    reply_token = re.search(r"\+(\w+)@", asked.headers["Reply-To"])
    assert reply_token, asked.headers
    return [link[2], reply_token[1]]


async def test_an_auditor_reads_who_asked_decided_and_what_ran(desk: Desk) -> None:
    """AP16: three journeys over three channels, with every attempt that did not count; and nothing that is secret."""
    codes = await deployed_by_text(desk.found)
    request_id = await denied_in_slack(desk.found)
    tokens = await deployed_by_mail(desk.found)
    trail = await desk.export()
    whole = desk.file.read_text()

    def told(what: str, **fields: object) -> list[dict[str, Any]]:
        return [one for one in trail if one["what"] == what and all(one.get(k) == v for k, v in fields.items())]

    # By text: who asked, who decided, by what right, and what came of it.
    (decision,) = [one for one in told("decided", verdict="approve") if one["address"].startswith("sms:")]
    text_thread = decision["thread"]
    assert (decision["who"]["id"], decision["authenticated_by"]) == ("lena", "twilio-signature")
    assert decision["source"]
    assert decision["requesters"] == ["ana"]
    assert decision["policy"]["roles"] == ["approver"]
    (opened,) = told("request_opened", thread=text_thread)
    assert opened["digest"] == decision["digest"]
    assert dict(opened["facts"])["Environment"] == "production"
    assert dict(opened["facts"])["Release"].startswith("v1.4.0 (")
    (start,) = told("started", thread=text_thread, tool="deploy")
    assert (start["digest"], start["approved_by"]) == (decision["digest"], ["lena"])
    (result,) = told("succeeded", thread=text_thread, tool="deploy")
    assert "runs on production" in result["summary"]
    assert told("launched", thread=text_thread)[0]["who"]["id"] == "ana"

    # Attempts that did not count.
    assert {one["rule"] for one in told("turned_away", channel="sms")} >= {"SM5", "SM7"}
    assert {one["address"] for one in told("turned_away", rule="SM7")} == {f"sms:{PHONES['eve']}"}
    assert {one["rule"] for one in told("turned_away", channel="email")}
    refused = [(one["who"]["id"], one["rule"]) for one in told("refused")]
    assert ("ana", "message") in refused
    assert ("omar", "late") in refused
    assert {rule for who, rule in refused if who == "ana"} & {"role", "four_eyes"}
    (denial,) = told("decided", verdict="deny", length=len("the moon is wrong"))
    assert (denial["who"]["id"], denial["status"]) == ("lena", "denied")
    assert not told("started", thread=denial["thread"], tool="deploy")
    (by_link,) = [one for one in told("decided", verdict="approve") if one["address"].startswith("email:")]
    assert by_link["authenticated_by"] == "email-link"

    # Nothing in it lets anybody act, and nothing in it is what somebody wrote.
    for secret in [*codes, *tokens, request_id]:
        assert secret not in whole, secret
    for written in (
        "gracefully",
        "moon",
        "Hello",
        "Thanks",
        "missiles",
        "http://",
        "/decide/",
        "deploy v1.3.2 to production",
    ):
        assert written not in whole, written
    done = await desk.bot("verify", str(desk.file), "--head", trail[-1]["hash"])
    assert f"{len(trail)} records: the chain holds." in done.output


async def test_a_mail_of_ours_that_comes_back_gives_no_token_away(desk: Desk) -> None:
    """AP16, EM9, EM15: Lena's mailbox sends it to the bot; and somebody writes under the address for her reply."""
    await desk.found.mail.write("ana@acme.example", BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
    (asked,) = await desk.found.mails("lena", 1)
    tokens = {one for one in re.findall(rf"[a-z2-7]{{{LENGTH}}}", asked.raw.decode()) if read_token(one)}
    assert len(tokens) > 1
    reply_to = asked.headers["Reply-To"]
    forged = f"From: {reply_to}\r\nTo: {BOT_ADDRESS}\r\nSubject: x\r\nMessage-ID: <{reply_to}>\r\n\r\nhello\r\n"
    mail = desk.found.board.desks.email
    assert mail
    for raw in (asked.raw, forged.encode()):
        assert await mail.take(RawMail(raw, "smtp", "", (BOT_ADDRESS,))) == "silent"

    turned_away = [one for one in await desk.export() if one["what"] == "turned_away"]
    assert len(turned_away) == 2
    assert all("[token]" in one["source"] for one in turned_away)
    shown = (await desk.bot("show", "--decisions")).output
    for token in tokens:
        assert token not in desk.file.read_text()
        assert token not in shown
    assert "the chain holds" in (await desk.bot("verify", str(desk.file))).output


async def test_a_narrow_window_shows_every_word(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a table would have no room for what was decided, a record takes a few lines."""
    await denied_in_slack(desk.found)
    await desk.found.stop_workers()  # they log to the same standard output here
    assert "of what, and how" in (await desk.bot("show", "--decisions")).output
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "70")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", (await desk.bot("show", "--decisions")).output).splitlines()
    assert max(map(len, lines)) <= 70
    (start,) = [number for number, line in enumerate(lines) if "decided" in line and "Lena Vogt" in line]
    record = " ".join(" ".join(lines[start : start + 4]).split())
    assert "slack-signature; deny; Deploy v1.3.1 to production; status denied" in record


async def test_export_and_verify_know_their_file_and_print_the_head(desk: Desk) -> None:
    """Without a name it is a file in DATA_DIR; a second export adds nothing and prints the same head."""
    await denied_in_slack(desk.found)
    first = (await desk.bot("export")).output
    head = re.search(r"^head ([0-9a-f]{64})$", first, re.MULTILINE)
    assert head
    file = desk.found.data_dir / "audit.jsonl"
    assert json.loads(file.read_bytes().splitlines()[-1])["hash"] == head[1]
    again = (await desk.bot("export")).output
    assert "0 records added" in again
    assert head[0] in again
    for told in (head[1], head[0], f" {head[0]}\n"):  # the hash, and the line that cron keeps
        assert "the chain holds" in (await desk.bot("verify", "--head", told)).output
    assert "0" * 63 in (await desk.bot("verify", "--head", "0" * 63 + "1", code=1)).output


async def test_a_file_that_was_cut_or_emptied_is_told_with_what_redis_has(desk: Desk) -> None:
    """No chain can show what is missing at its end; that Redis has more is said, and an empty file is no good one."""
    await denied_in_slack(desk.found)
    trail = await desk.export()
    lines = desk.file.read_bytes().splitlines(keepends=True)
    desk.file.write_bytes(b"".join(lines[:-3]))
    assert "Redis has 3 records more: not exported yet, or cut off" in (await desk.bot("verify", str(desk.file))).output
    desk.file.write_bytes(b"")
    found = (await desk.bot("verify", str(desk.file), code=1)).output
    assert f"0 records: the file is empty.\nhead {'0' * 64}" in found
    assert f"Redis has {len(trail)} records more" in found


async def test_tampering_is_named_and_ends_with_code_1(desk: Desk) -> None:
    """In the file, with or without Redis; in Redis, only by comparing. A damaged file is not added to."""
    await denied_in_slack(desk.found)
    trail = await desk.export()
    number: int = next(one["number"] for one in trail if one["what"] == "decided")
    whole = desk.file.read_bytes()

    lines = whole.splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace(b'"deny"', b'"approve"')
    desk.file.write_bytes(b"".join(lines))
    for option in ("--against-redis", "--no-against-redis"):
        found = (await desk.bot("verify", str(desk.file), option, code=1)).output
        assert f"line {number}: record {number} was changed" in found
    refused = await desk.bot("export", str(desk.file), code=1)
    assert "Nothing was added" in refused.output
    assert f"line {number}" in refused.output

    desk.file.write_bytes(whole)
    assert "the chain holds" in (await desk.bot("verify", str(desk.file))).output
    log = keys.log(trail[0]["thread"])
    redis: Any = desk.found.store.connection.redis
    place: int = trail[number - 1]["seq"] - 1
    line: bytes = await redis.lindex(log, place)
    await redis.lset(log, place, line.replace(b'"lena"', b'"omar"'))
    found = (await desk.bot("verify", str(desk.file), code=1)).output
    assert f"line {number}: thread {trail[0]['thread']}" in found
    assert "Redis says otherwise of: who" in found
    assert "the chain holds" in (await desk.bot("verify", str(desk.file), "--no-against-redis")).output


async def test_the_chain_alone_needs_no_redis(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An auditor checks the file on a machine that has nothing but it."""
    await denied_in_slack(desk.found)
    await desk.export()
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.delenv("SECRET_KEY")
    assert "the chain holds" in (await desk.bot("verify", str(desk.file), "--no-against-redis")).output
    with pytest.raises(StoreUnavailable):
        await desk.bot("verify", str(desk.file))


async def test_an_export_to_the_standard_output_is_a_trail_of_its_own(desk: Desk) -> None:
    """Records and nothing else there; the head goes to the standard error."""
    await denied_in_slack(desk.found)
    await desk.found.stop_workers()  # they log to the same standard output here
    done = await desk.bot("export", "-")
    desk.file.write_text(done.stdout)
    assert all(json.loads(line)["hash"] for line in done.stdout.splitlines())
    assert "head " in done.stderr
    assert "the chain holds" in (await desk.bot("verify", str(desk.file))).output


async def test_what_is_shown_can_be_narrowed_down(desk: Desk) -> None:
    """By thread, person, time, number and to decisions; without a command it is what happened lately."""
    assert "Nothing is recorded" in (await desk.bot("show")).output
    request_id = await denied_in_slack(desk.found)
    await deployed_by_text(desk.found)
    await desk.found.stop_workers()  # they log to the same standard output here
    everything = (await desk.bot()).output
    for word in ("launched", "decided", "four_eyes" if "four_eyes" in everything else "role", "Lena Vogt", "SM7"):
        assert word in everything, everything
    assert request_id not in everything
    assert "gracefully" not in everything

    async def rows(*options: str) -> list[str]:
        return (await desk.bot("show", *options)).output.splitlines()[1:]

    assert all("Lena Vogt" in row for row in await rows("--person", "lena"))
    *three, older = await rows("--limit", "3")
    assert len(three) == 3
    assert re.fullmatch(r"\d+ older records left out; --limit shows more\.", older)
    thread = (await desk.found.threads())[0].thread_id
    assert all(thread in row for row in await rows("--thread", thread))
    assert "launched" not in " ".join(await rows("--decisions"))
    assert await rows("--since", "2026-03-20") == await rows()
    assert "Nothing is recorded" in (await desk.bot("show", "--since", "2026-03-21")).output


async def test_a_day_that_is_none_is_told_with_how_to_write_one(desk: Desk) -> None:
    """Days and times of them; anything else teaches."""
    await denied_in_slack(desk.found)
    assert "decided" in (await desk.bot("show", "--since", "2026-03-20T08:00")).output
    told = " ".join((await desk.bot("show", "--since", "yesterday", code=2)).output.split())
    assert "'yesterday' is no day; write one such as 2026-03-01" in told


async def test_a_person_is_found_by_whatever_one_has(desk: Desk) -> None:
    """AP16: by text and in Slack, it is the same Lena; another person's records do not get in."""
    await denied_in_slack(desk.found)
    await deployed_by_text(desk.found)
    await desk.found.stop_workers()  # they log to the same standard output here

    async def rows(person: str) -> list[str]:
        found = (await desk.bot("show", "--person", person)).output.splitlines()[1:]
        return [" ".join(row.split()) for row in found]

    by_id = await rows("lena")
    assert ["deny" in row for row in by_id] == [True, False]
    assert all("Lena Vogt" in row for row in by_id)
    for typed in (
        "Lena Vogt", "lena vogt", "lena@acme.example", "email:LENA@acme.example", "U0LENA", "T0ACME/U0LENA",
        "slack:T0ACME/U0LENA", " u0lena ",
    ):  # fmt: skip
        assert await rows(typed) == by_id, typed
    by_number = await rows(LENA)
    assert set(by_id) < set(by_number)  # and what was turned away at the door, from that number
    assert await rows(f"sms:{LENA}") == by_number
    for typed in (PHONES["eve"], f"sms:{PHONES['eve']}"):
        assert [row.split()[3] for row in await rows(typed)] == ["turned_away"]
    for typed in ("Len", "U0LEN", "acme.example", "T0ACME"):
        nothing = " ".join((await desk.bot("show", "--person", typed)).output.split())
        assert f"Nothing is recorded of: what '{typed}' did (the people file has nobody like that)." in nothing


async def test_what_is_not_found_is_said_with_how_far_back(desk: Desk) -> None:
    """The number that is shown does not bound what is looked through."""
    await denied_in_slack(desk.found)
    await desk.found.stop_workers()  # they log to the same standard output here
    count = len(re.findall("^2026-", (await desk.bot("show")).output, re.MULTILINE))
    options = ("--person", "U0GIL", "--decisions", "--limit", "1")
    said = " ".join((await desk.bot("show", *options)).output.split())
    assert said.startswith("Nothing is recorded of: decisions, what 'U0GIL' did (gil). ")
    assert f"All {count} records that Redis has were looked through, back to 2026-03-20 09:00 UTC." in said
    said = " ".join((await desk.bot("show", "--since", "2026-03-21")).output.split())
    assert "since 2026-03-21 00:00 UTC. There is no record that Redis has from then on." in said


async def test_a_thread_is_found_by_how_its_id_begins(desk: Desk) -> None:
    """At least `t` and 6 characters, as `status` prints them."""
    await denied_in_slack(desk.found)
    await desk.found.stop_workers()  # they log to the same standard output here
    (thread,) = {log.thread_id for log in await desk.found.threads()}
    whole = (await desk.bot("show", "--thread", thread)).output
    assert thread in whole
    assert (await desk.bot("show", "--thread", thread[:7])).output == whole
    assert "write at least `t` and 6" in (await desk.bot("show", "--thread", thread[:6])).output
    other = f"t{'0' if thread[1] != '0' else '1'}{thread[2:7]}"
    said = (await desk.bot("show", "--thread", other)).output
    assert "There is no record of the threads meant." in " ".join(said.split())


async def test_decisions_tell_how_requests_end_by_cancel_and_by_another_plan(desk: Desk) -> None:
    """AP16: what was withdrawn, by its title, by whom, or after whose message."""
    asked = await desk.found.slack.say("ana", "#deploys", "@bot deploy v1.3.1 to production")
    await desk.found.card(asked)
    await desk.found.slack.say("ana", "#deploys", "@bot hold off, please", thread_ts=asked.ts)
    log = await desk.found.settled(asked, lambda log: log.state.status == "finished")
    other = await desk.found.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    await desk.found.card(other)
    await desk.found.slack.say("ana", "#deploys", "@bot cancel", thread_ts=other.ts)
    await desk.found.settled(other, lambda log: log.state.status == "cancelled")
    await desk.found.stop_workers()  # they log to the same standard output here

    rows = (await desk.bot("show", "--decisions")).output.splitlines()[1:]
    (withdrawn,) = [" ".join(row.split()) for row in rows if " withdrawn " in row]
    (request,) = [n for n, event in enumerate(log.events, 1) if event.type == "request_opened"]
    assert (
        f"the agent withdrew Deploy v1.3.1 to production (request {request}); after a message of Ana Ruiz" in withdrawn
    )
    (cancelled,) = [" ".join(row.split()) for row in rows if " cancelled " in row]
    assert "Ana Ruiz slack-signature" in cancelled
    assert "withdrew Deploy v1.4.0 to production" in cancelled


async def test_ids_and_versions_are_not_coloured_in_parts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal, what one copies is one piece."""
    await denied_in_slack(desk.found)
    await desk.found.stop_workers()  # they log to the same standard output here
    (thread,) = {log.thread_id for log in await desk.found.threads()}
    monkeypatch.setenv("FORCE_COLOR", "1")
    for columns in ("80", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        shown = (await desk.bot("show")).output
        assert f"{thread}:1" in shown
        assert "Deploy v1.3.1 to production" in shown


async def test_a_name_cannot_pose_as_markup_or_move_the_cursor(desk: Desk) -> None:
    """What strangers send is shown as text."""
    await desk.found.board.inbox.refuse("email:[bold]\x1b[2Jx@y.example", "EM18", "forged", source="m1")
    shown = (await desk.bot("show")).output
    assert "[bold]�[2Jx@y.example" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("words", "teaches"),
    [
        ([], ["refused", "show", "export", "verify", "90 days", "cron"]),
        (["show"], ["--thread", "--person", "--since", "--limit", "--decisions", "changes nothing"]),
        (["export"], ["hash", "--head", "cron", "audit.jsonl"]),
        (["verify"], ["--head", "--against-redis", "Exit code 1", "reordered", "ends early"]),
    ],
)
def test_the_audit_help_teaches(words: list[str], teaches: list[str]) -> None:
    """What it does, what it needs, and what to do next."""
    text = " ".join(CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "100"}).output.split())
    for lesson in teaches:
        assert lesson in text, lesson


def test_a_file_that_is_not_there_or_cannot_be_written_is_told_in_a_line(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("SECRET_KEY", "a secret of the tests")
    missing = CliRunner().invoke(app, ["verify", "none.jsonl"], obj=Switchboard.assemble)
    assert missing.exit_code == 1
    assert "There is no file none.jsonl. `bot audit export` makes it." in missing.output
    nowhere = CliRunner().invoke(app, ["export", "no/such/place.jsonl"], obj=Switchboard.assemble)
    assert nowhere.exit_code == 1
    assert "no/such/place.jsonl cannot be written (No such file or directory)" in nowhere.output


@pytest.mark.parametrize("head", ["", "zzz", "head ", "ab" * 31, "$(tail -1 heads)"])
def test_a_head_that_is_no_hash_is_a_mistake_and_checks_nothing(tmp_path: Path, head: str) -> None:
    """A script whose place for the hash is empty must not be told that the end is there."""
    file = tmp_path / "audit.jsonl"
    file.write_text("")
    result = CliRunner().invoke(app, ["verify", str(file), "--no-against-redis", "--head", head])
    assert result.exit_code == 2
    assert "is no hash; it has 64 of 0-9 and a-f, as `bot audit export` prints it." in result.output
    without = CliRunner().invoke(app, ["verify", str(file), "--no-against-redis"])
    assert (without.exit_code, without.output.splitlines()[0]) == (0, "0 records: the file is empty.")

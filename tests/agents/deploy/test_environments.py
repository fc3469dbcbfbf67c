from pathlib import Path

import pytest
from pydantic import ValidationError

from agents.deploy.deploy_file import ConfigurationError, UnknownEnvironmentError, load

WHOLE = """
[service]
name = "webshop"

[environments.production]
deploy = ["./deploy.sh", "production", "{commit}"]
current = ["./current.sh", "production"]
risk = "high"
approvers = ["approver"]
requesters = ["engineer", "approver"]
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "deploy.toml"
    path.write_text(text, encoding="utf-8")
    return path


def with_line(line: str) -> str:
    """The whole file with one key of production replaced or added."""
    key = line.split(" =", maxsplit=1)[0]
    return "\n".join(old for old in WHOLE.splitlines() if not old.startswith(f"{key} =")) + f"\n{line}\n"


def test_a_whole_file_is_read_with_careful_defaults(tmp_path: Path) -> None:
    """High risk means four eyes unless the file says otherwise; one approval, an hour of life, 15 minutes to run."""
    file = load(write(tmp_path, WHOLE))
    production = file.environment("production")
    assert (file.service, file.directory, list(file.environments)) == ("webshop", tmp_path, ["production"])
    assert (production.name, production.risk, production.four_eyes, production.approvals) == (
        "production",
        "high",
        True,
        1,
    )
    assert (production.approval_life_seconds, production.time_limit_seconds) == (3600, 900)
    assert (production.approvers, production.requesters) == (("approver",), ("engineer", "approver"))
    assert not load(write(tmp_path, with_line("four_eyes = false"))).environment("production").four_eyes
    assert not load(write(tmp_path, with_line('risk = "medium"'))).environment("production").four_eyes


def test_reminders_and_escalation_are_data_beside_the_tool(tmp_path: Path) -> None:
    """AP11: as shares of the life; steps ask roles and persons, over channels if they name any."""
    assert load(write(tmp_path, WHOLE)).environment("production").reminders == (0.5, 0.9)
    steps = '{ after = "20%", ask = ["oncall", "@lena"], channels = ["sms"] }, { after = 0.5, ask = ["lead"] }'
    text = with_line('reminders = ["25%", 0.8]').rstrip() + f"\nescalation = [{steps}]\n"
    production = load(write(tmp_path, text)).environment("production")
    assert production.reminders == (0.25, 0.8)
    first, second = production.escalation_steps()
    assert (first.name, first.after, first.roles, first.persons, first.channels) == (
        "oncall or lena", 0.2, ("oncall",), ("lena",), ("sms",),
    )  # fmt: skip
    assert (second.name, second.after, second.roles, second.channels) == ("lead", 0.5, ("lead",), ())


def test_what_was_read_cannot_be_changed(tmp_path: Path) -> None:
    """An approval rests on these values, so nobody changes them in memory."""
    file = load(write(tmp_path, WHOLE))
    with pytest.raises(ValidationError, match="frozen"):
        file.environment("production").approvals = 0
    with pytest.raises(TypeError):
        file.environments["other"] = file.environment("production")  # pyright: ignore[reportIndexIssue]


def test_placeholders_fill_words_and_never_make_new_ones(tmp_path: Path) -> None:
    """A reference with spaces, quotes or braces stays inside its one argument; doubled braces are braces."""
    line = 'deploy = ["deployer", "--to={environment}", "{reference}", "{{x}}", "{run}:{commit}"]'
    production = load(write(tmp_path, with_line(line))).environment("production")
    words = production.deploy_command(commit="c0ffee", reference="a b; $(x) {commit}", run="t:7:0")
    assert words == ("deployer", "--to=production", "a b; $(x) {commit}", "{x}", "t:7:0:c0ffee")


def test_a_program_with_a_slash_belongs_to_the_deploy_file(tmp_path: Path) -> None:
    """`./deploy.sh` is the script beside the deploy file, also below a directory with braces in its name."""
    directory = tmp_path / "{commit}"
    directory.mkdir()
    production = load(write(directory, WHOLE)).environment("production")
    program = production.deploy_command(commit="c", reference="r", run="x")[0]
    assert program == str(directory / "deploy.sh")
    assert production.current_command() == (str(directory / "current.sh"), "production")
    absolute = load(write(directory, with_line('current = ["/usr/bin/env"]'))).environment("production")
    assert absolute.current_command() == ("/usr/bin/env",)


def test_an_unknown_environment_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    """Whoever asks for an environment that is not there learns which there are."""
    with pytest.raises(UnknownEnvironmentError, match=r'no environment called "prod"\. There are: production\.'):
        load(write(tmp_path, WHOLE)).environment("prod")


@pytest.mark.parametrize(
    ("line", "key", "advice"),
    [
        ('risk = "urgent"', "risk", '\'urgent\' is not allowed. Write risk = "low", "medium" or "high".'),
        ("risk = 3", "risk", "Write risk ="),
        ("deploy = []", "deploy", "is an empty command. Write a list of words"),
        ('deploy = [" "]', "deploy", "is an empty command"),
        ('deploy = "./deploy.sh {commit}"', "deploy", "Write a list of words"),
        ("deploy = [1]", "deploy.0", "Write a list of words"),
        ('deploy = ["./d", "{sha}"]', "deploy", 'unknown placeholder "{sha}" (known: {commit}, {environment}'),
        ('deploy = ["./d", "{commit!r}"]', "deploy", "unknown placeholder"),
        ('deploy = ["./d", "{commit:>99}"]', "deploy", "unknown placeholder"),
        ('deploy = ["./d", "{}"]', "deploy", "unknown placeholder"),
        ('deploy = ["./d", "{commit.real}"]', "deploy", "unknown placeholder"),
        ('deploy = ["./d", "{commit"]', "deploy", "brace without its pair"),
        ('deploy = ["./{reference}"]', "deploy", "placeholder in the program itself"),
        (
            'deploy = ["sh", "-ec", "./d {reference}"]',
            "deploy",
            "a shell would read it as code; pass it as an argument",
        ),
        ('current = ["./c", "{commit}"]', "current", 'unknown placeholder "{commit}" (known: {environment})'),
        ('approver = ["boss"]', "approver", "is not a known key. Write approvers."),
        ("zzz = 1", "zzz", "is not a known key. Write one of deploy, current, risk"),
        ("approvers = []", "", 'has no approvers; write approvers = ["approver"]'),
        ('approvers = ["Boss!"]', "approvers.0", "Write a list of roles"),
        ('approvers = ["a", "a"]', "approvers", "names a role twice. Write"),
        ("requesters = []", "requesters", "Write a list of roles, such as requesters"),
        ("approvals = 0", "", "needs no approval; write approvals = 1"),
        ("approvals = true", "approvals", "Write a whole number from 0 to 10"),
        ('approvals = "1"', "approvals", "Write a whole number from 0 to 10"),
        ('four_eyes = "yes"', "four_eyes", "Write four_eyes = true or false"),
        ("channels = []", "channels", "names none. Write one at least of slack, email, sms, api"),
        ('channels = ["fax"]', "channels.0", "'fax' is not allowed. Write one at least of slack"),
        ('reminders = ["90%", "50%"]', "reminders", "does not grow. Write growing shares of the life"),
        ("reminders = [2.0]", "reminders.0", "Write growing shares"),
        ('escalation = [{ after = "25%" }]', "escalation.0.ask", "is missing. Write a list of roles, or of persons"),
        ('escalation = [{ after = "0%", ask = ["oncall"] }]', "escalation.0.after", "Write a share of the life"),
        ('escalation = [{ after = "25%", ask = [] }]', "escalation.0.ask", "Write a list of roles, or of persons"),
        ('escalation = [{ after = "25%", asks = ["a"], ask = ["a"] }]', "escalation.0.asks", "Write ask."),
        (
            'escalation = [{ after = "50%", ask = ["a"] }, { after = "25%", ask = ["b"] }]',
            "escalation",
            "has a step that is not later than the one before it; write growing shares",
        ),
        ("approval_life_seconds = 59", "approval_life_seconds", "59 is not allowed. Write a whole number from 60"),
        ("approval_life_seconds = 604801", "approval_life_seconds", "from 60 to 604800"),
        ("time_limit_seconds = 0", "time_limit_seconds", "Write a whole number from 1"),
    ],
)
def test_a_mistake_is_one_line_with_what_to_write_instead(tmp_path: Path, line: str, key: str, advice: str) -> None:
    """A mistake is named with the file, the key and the remedy, on one line."""
    path = write(tmp_path, with_line(line))
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    (message,) = str(caught.value).splitlines()
    assert message.startswith(f"{path}: environments.production{'.' if key else ''}{key}: ")
    assert advice in message


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("", "service: is missing. Write a table [service]"),
        (
            '[service]\nname = "x"\n[environments]\n',
            "environments: {} is not allowed. Write a table [environments.prod",
        ),
        (
            WHOLE.replace(".production]", '."Prod One"]'),
            "environments.Prod One: is not a name for an environment. Write a",
        ),
        (WHOLE.replace("webshop", "Web Shop"), "service.name: 'Web Shop' is not allowed. Write a lower-case letter"),
        (WHOLE.replace("[service]", "[services]"), "service: is missing"),
        (WHOLE + '\nname = "other"\n', "environments: production.name is not a known key; the name stands in"),
        ("service = 3\nenvironments = [1]", "service: 3 is not allowed. Write a table [service]"),
        (WHOLE.replace("[service]", "[service"), "is not TOML: "),
        (f"a = {'[' * 5000}{']' * 5000}", "is not TOML: tables and lists are nested too deeply"),
        (f"service.{'a.' * 1000}b = 1", "is not TOML: tables and lists are nested too deeply"),
        (f"a = {'9' * 5000}", "is not TOML: "),
    ],
)
def test_a_file_of_the_wrong_shape_is_refused(tmp_path: Path, text: str, start: str) -> None:
    """Whatever is wrong with the file, the answer is a `ConfigurationError` that begins with the file."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {start}")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Two mistakes are two lines, so that a file is mended in one go."""
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, with_line('risk = "urgent"') + "time_limit_seconds = 0\n"))
    assert len(str(caught.value).splitlines()) == 2


def test_a_missing_or_unreadable_file_is_told_plainly(tmp_path: Path) -> None:
    """No file, and a file that is no text, are configuration errors too."""
    with pytest.raises(ConfigurationError, match=r"deploy\.toml: cannot be read \(No such file or directory\)"):
        load(tmp_path / "deploy.toml")
    (tmp_path / "deploy.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="is not TOML"):
        load(tmp_path / "deploy.toml")

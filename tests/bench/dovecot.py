"""A real Dovecot on loopback: one Maildir, one account, run as whoever runs the tests. For version 2.3."""

from __future__ import annotations

import base64
import getpass
import grp
import hashlib
import hmac
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support import free_port

from channels.email.client.imap import ImapPlace

USER, PASSWORD = "bot@acme.example", 'a password with "quotes" and \\'
_KEY = b"a key that the tests sign access tokens with"

_CONFIG = """
protocols = imap
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/dovecot.log
instance_name = tests
listen = 127.0.0.1
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {login_user}
first_valid_uid = 0
mail_location = maildir:{base}/Maildir
mailbox_idle_check_interval = 1s
auth_mechanisms = plain login xoauth2
auth_failure_delay = 0
{tls}
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {base}/oauth2.conf
}}
passdb {{
  driver = passwd-file
  mechanisms = plain login
  args = scheme=PLAIN username_format=%u {base}/passwd
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={base}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
service stats {{
  chroot =
}}
"""
_OAUTH2 = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={base}/keys/
username_attribute = email
"""


def why_missing() -> str:
    """Empty where the tests can run; else why not."""
    command = shutil.which("dovecot")
    if not command:
        return "no dovecot on the PATH; CI installs dovecot-imapd and sets REQUIRE_DOVECOT"
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
    return "" if version.startswith("2.3.") else f"the configuration is for dovecot 2.3, not {version.strip()}"


@dataclass
class Dovecot:
    """The server."""

    base: Path
    port: int
    tls_port: int
    certificate: Path
    process: subprocess.Popen[bytes] | None = None
    delivered: int = field(default=0)

    def place(self, **changes: str | int) -> ImapPlace:
        """The account, in the clear unless said otherwise."""
        port = self.tls_port if changes.get("tls") == "tls" else self.port
        values: dict[str, str | int] = {
            "host": "127.0.0.1",
            "port": port,
            "username": USER,
            "password": PASSWORD,
            "access_token": "",
            "tls": "none",
        }
        return ImapPlace(**(values | changes))  # pyright: ignore[reportArgumentType]

    def deliver(self, raw: bytes) -> str:
        """A new mail, as a delivery agent puts it there. Gives its name."""
        self.delivered += 1
        name = f"{int(time.time())}.{self.delivered}.tests"
        written = self.base / "Maildir" / "tmp" / name
        written.write_bytes(raw)
        written.rename(self.base / "Maildir" / "new" / name)
        return name

    def is_seen(self, name: str) -> bool:
        """Whether the flag is set, in the name of the file, where Maildir keeps it."""
        return any("S" in one.name.rpartition(",")[2] for one in (self.base / "Maildir" / "cur").glob(f"{name}:*"))

    def sessions(self) -> list[int]:
        """The processes that serve a connection."""
        assert self.process
        mine: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    if parent == self.process.pid and (entry / "comm").read_text().strip() == "imap":
                        mine.append(int(entry.name))
                except (FileNotFoundError, ProcessLookupError):
                    continue
        return mine

    def kill_sessions(self) -> None:
        """End every connection without a word."""
        for pid in self.sessions():
            os.kill(pid, signal.SIGKILL)

    def make_anew(self) -> None:
        """Give another UIDVALIDITY with the same UIDs, as a restored mailbox may."""
        uids = self.base / "Maildir" / "dovecot-uidlist"
        version, validity, rest = uids.read_text().split(" ", maxsplit=2)
        for file in (self.base / "Maildir").glob("dovecot*"):
            file.unlink()
        uids.write_text(f"{version} V{int(validity[1:]) + 1000} {rest}")
        os.chmod(uids, 0o666)  # noqa: PTH101, S103 the server may run as another user here

    def start(self) -> None:
        """Run it, and wait until it answers."""
        command = ["dovecot", "-F", "-c", str(self.base / "dovecot.conf")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(500):
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                    if connection.recv(4) == b"* OK":
                        return
                    break
            except ConnectionRefusedError:
                time.sleep(0.02)
            except OSError:
                break
        self.stop()
        log = self.base / "dovecot.log"
        raise AssertionError(log.read_text() if log.exists() else "dovecot did not start")

    def stop(self) -> None:
        """End it."""
        if self.process:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@contextmanager
def dovecot() -> Generator[Dovecot]:
    """A server with an empty mailbox."""
    # Not under pytest's own directory: the path of a unix socket may have a hundred characters.
    with tempfile.TemporaryDirectory(prefix="dovecot-") as directory:
        server = _prepare(Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def access_token(user: str = USER, key: bytes = _KEY) -> str:
    """A token that the server believes, if it is signed with its key."""
    now = int(time.time())
    claims = {"sub": user, "email": user, "iat": now - 10, "nbf": now - 10, "exp": now + 600}
    head = f"{_encoded({'alg': 'HS256', 'typ': 'JWT'})}.{_encoded(claims)}"
    signature = hmac.new(key, head.encode(), hashlib.sha256).digest()
    return f"{head}.{_url64(signature)}"


def _prepare(base: Path) -> Dovecot:
    for folder in ("run", "state", "keys/default/HS256", "Maildir/new", "Maildir/cur", "Maildir/tmp"):
        (base / folder).mkdir(parents=True)
    server = Dovecot(base, free_port(), free_port(), base / "certificate.pem")
    _make_certificate(server.certificate)
    uid, gid = os.getuid(), os.getgid()
    user, group, login_user = getpass.getuser(), grp.getgrgid(gid).gr_name, getpass.getuser()
    if uid == 0:  # root may not be any of these; the package has made users for it
        user, group, login_user = "dovecot", "dovecot", "dovenull"
        uid, gid = pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid
        base.chmod(0o755)
        for folder in (base, *(base / "Maildir").rglob("*"), base / "Maildir"):
            os.chown(folder, uid, gid)
    tls = f"ssl = yes\nssl_cert = <{server.certificate}\nssl_key = <{server.certificate}\ndisable_plaintext_auth = no"
    (base / "dovecot.conf").write_text(
        _CONFIG.format(
            base=base,
            user=user,
            group=group,
            login_user=login_user,
            uid=uid,
            gid=gid,
            tls=tls,
            port=server.port,
            tls_port=server.tls_port,
        )
    )
    (base / "oauth2.conf").write_text(_OAUTH2.format(base=base))
    (base / "passwd").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    (base / "keys/default/HS256/default").write_text(base64.b64encode(_KEY).decode())
    return server


def _make_certificate(path: Path) -> None:
    """Its own issuer, for 127.0.0.1."""
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *name, "-keyout", str(path) + ".key", "-out", str(path)], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(str(path) + ".key").read_text())


def _encoded(value: object) -> str:
    return _url64(json.dumps(value).encode())


def _url64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

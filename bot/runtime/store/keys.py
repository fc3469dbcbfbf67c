"""The names of all keys, and how long each lives.

A thread's keys and the stream, timers and index of its shard share a hash tag, so that one script may touch them all,
on Redis Cluster too.

| key                              | type   | holds                              | lives                              |
|----------------------------------|--------|------------------------------------|------------------------------------|
| `{s07}:thread:<id>:log`          | list   | events, JSON lines, in order       | 90 days after the last event       |
| `{s07}:thread:<id>:meta`         | hash   | fence, lease_until, queued, seen … | as the log                         |
| `{s07}:thread:<id>:artifact:<n>` | string | a large result                     | 90 days after the last write       |
| `{s07}:seen:<sha>`               | string | a delivery id that was stored      | 3 days; Slack retries for minutes  |
| `{s07}:wake`                     | stream | threads to look at                 | no TTL: entries go when done       |
| `{s07}:timers`                   | zset   | `<thread>|<name>` by due time, ms  | no TTL: entries go when they fire  |
| `{s07}:timer_events`             | hash   | the event of each timer            | no TTL: as `timers`                |
| `{s07}:threads`                  | zset   | threads by last event, ms          | no TTL: trimmed to 90 days         |
| `{conv:<sha>}:thread`            | string | the thread a conversation is bound to | 90 days after the binding       |
| `addresses:off`                  | hash   | addresses out of use, and why      | no TTL: until they are turned on   |
| `{codes:<sha>}:codes`            | hash   | the codes of one address           | a day longer than the last one     |
| `{rate:<sha>}:times`             | zset   | when something happened, ms        | the window in which it counts      |
"""

from __future__ import annotations

import hashlib

from bot.core.people import Address
from bot.core.values import Conversation, ThreadId

SHARDS = 8
THREAD_LIFE_SECONDS = 90 * 86400
SEEN_LIFE_SECONDS = 3 * 86400
MAX_ARTIFACT_BYTES = 1024 * 1024
ADDRESSES_OFF = "addresses:off"


def shard_of(thread_id: ThreadId) -> int:
    """The shard of a thread: stable for ever, because its keys carry it."""
    return hashlib.sha256(thread_id.encode()).digest()[0] % SHARDS


def _tag(thread_id: ThreadId) -> str:
    return f"{{s{shard_of(thread_id):02d}}}"


def log(thread_id: ThreadId) -> str:
    """The log."""
    return f"{_tag(thread_id)}:thread:{thread_id}:log"


def meta(thread_id: ThreadId) -> str:
    """The bookkeeping beside the log."""
    return f"{_tag(thread_id)}:thread:{thread_id}:meta"


def artifact(thread_id: ThreadId, name: str) -> str:
    """A large result."""
    return f"{_tag(thread_id)}:thread:{thread_id}:artifact:{name}"


def seen(thread_id: ThreadId, delivery: str) -> str:
    """A delivery id; hashed, because it comes from outside."""
    return f"{_tag(thread_id)}:seen:{hashlib.sha256(delivery.encode()).hexdigest()[:32]}"


def conversation(place: Conversation) -> str:
    """The thread of a conversation."""
    return f"{{conv:{hashlib.sha256(f'{place.channel}:{place.ref}'.encode()).hexdigest()[:32]}}}:thread"


def codes(address: Address) -> str:
    """The codes of one address; hashed, because it is a number of somebody's."""
    return f"{{codes:{hashlib.sha256(address.encode()).hexdigest()[:32]}}}:codes"


def rate(name: str) -> str:
    """How often something happened."""
    return f"{{rate:{hashlib.sha256(name.encode()).hexdigest()[:32]}}}:times"


def wake(shard: int) -> str:
    """The wake stream of a shard."""
    return f"{{s{shard:02d}}}:wake"


def timers(shard: int) -> str:
    """The timers of a shard."""
    return f"{{s{shard:02d}}}:timers"


def timer_events(shard: int) -> str:
    """The events of a shard's timers."""
    return f"{{s{shard:02d}}}:timer_events"


def threads(shard: int) -> str:
    """The threads of a shard."""
    return f"{{s{shard:02d}}}:threads"

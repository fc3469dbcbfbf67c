"""What the simulators share: telling what happens, and of their pages the guard, the files, and the rail between them.

It knows no channel: each brings its `Panel`.
"""

from channels.simulating.files import Files
from channels.simulating.guard import HEADERS, Json, acting, guarded, reading, refusal
from channels.simulating.panels import Panel, pages
from channels.simulating.serving import serve_pages
from channels.simulating.streams import Streams
from channels.simulating.watching import Change, Subscription, Watched, keep_saved

__all__ = [
    "HEADERS",
    "Change",
    "Files",
    "Json",
    "Panel",
    "Streams",
    "Subscription",
    "Watched",
    "acting",
    "guarded",
    "keep_saved",
    "pages",
    "reading",
    "refusal",
    "serve_pages",
]

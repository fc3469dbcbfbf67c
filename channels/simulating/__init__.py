"""What the pages of the simulators share: whom they answer, files, streams, and the rail from one to the next.

It knows no channel: each brings its `Panel`.
"""

from channels.simulating.files import Files
from channels.simulating.guard import HEADERS, Json, acting, guarded, reading, refusal
from channels.simulating.panels import Panel, pages
from channels.simulating.serving import serve_pages
from channels.simulating.streams import Notice, Streams

__all__ = [
    "HEADERS",
    "Files",
    "Json",
    "Notice",
    "Panel",
    "Streams",
    "acting",
    "guarded",
    "pages",
    "reading",
    "refusal",
    "serve_pages",
]

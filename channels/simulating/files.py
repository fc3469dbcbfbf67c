"""A page's files: its own, and behind them those that all pages share."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from channels.simulating.guard import HEADERS, guarded, is_loopback

SHARED = Path(__file__).with_name("page")
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Files:
    """`index.html` and what it needs, from one folder. A name stands for a file there or for a shared one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def routes(self, index: str, files: str) -> list[Route]:
        """The page at `index` ("/mail"), its files below `files` ("/mail/files")."""
        return [Route(index, self._index), Route(f"{files}/{{name}}", guarded(self._file))]

    async def _index(self, request: Request) -> Response:
        # A person comes here from anywhere, by a link or a bookmark; nothing is told yet.
        if not is_loopback(request):
            return PlainTextResponse("only loopback hosts are served", 403, headers=HEADERS)
        return FileResponse(self._folder / "index.html", media_type="text/html", headers=HEADERS)

    async def _file(self, request: Request) -> Response:
        folders = (SHARED, self._folder)
        known = {path.name: path for folder in folders for path in folder.iterdir() if path.suffix in MEDIA_TYPES}
        path = known.get(request.path_params["name"])
        if path is None:
            return PlainTextResponse("no such file", 404, headers=HEADERS)
        return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=HEADERS)

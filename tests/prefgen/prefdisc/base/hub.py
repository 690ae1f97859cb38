"""A base in the Hugging Face cache's layout, and a Hub on loopback that serves one: the part of its API that a download
asks."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_cache(cache: Path, repository: str, folder: Path) -> None:
    """Put a folder's files into a cache as its library does: blobs, and a commit's links to them."""
    place = cache / f"models--{repository.replace('/', '--')}"
    snapshot = place / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (place / "blobs").mkdir()
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    for file in folder.iterdir():
        blob = hashlib.sha256(file.read_bytes()).hexdigest()
        (place / "blobs" / blob).write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path("..") / ".." / "blobs" / blob)


@contextmanager
def serving(repository: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A Hub with one repository; gives its address, and the list of what was asked of it."""
    asked: list[str] = []
    files = {file.name: file.read_bytes() for file in folder.iterdir()} | {"README.md": b"# not to be downloaded"}

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = self.path.split("?")[0]
            asked.append(path)
            if re.fullmatch(rf"/api/models/{repository}(/revision/\w+)?", path):
                siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
                return self.send(json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings}).encode())
            if re.fullmatch(rf"/api/models/{repository}/tree/\w+", path):
                tree = [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in files.items()
                ]
                return self.send(json.dumps(tree).encode())
            found = re.fullmatch(rf"/{repository}/resolve/\w+/(.+)", path)
            if found and found[1] in files:
                return self.send(files[found[1]])
            return self.send(b"{}", 404)

        def send(self, body: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""Reads requests and builds responses: the user of a request, size-limited bodies, and errors as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any

from aiohttp import web
from comfy.cli_args import args
from yarl import URL

from ...prefgen.errors import (
    ImageError,
    NothingToUndoError,
    ProfileError,
    ProfileNotFoundError,
    ProfileUnavailableError,
)
from ...prefgen.profile import Profiles
from .request_user import profiles_of_user
from .temp_images import OutsideFolderError

MAX_JSON_BYTES = 64 * 1024
"""Maximum size of a JSON body. The limit is our choice."""

CHUNK_BYTES = 2**20

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ProfilesHandler = Callable[[web.Request, Profiles], Awaitable[web.StreamResponse]]


class RequestError(Exception):
    """An error that is reported to the client as an HTTP status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


STATUS_BY_ERROR = {
    OutsideFolderError: 403,
    ProfileNotFoundError: 404,
    ProfileUnavailableError: 503,
    NothingToUndoError: 409,
    ImageError: 415,
    ProfileError: 400,
}
"""The HTTP status for each error class. The first matching class determines the status."""


def profiles_handler(server) -> Callable[[ProfilesHandler], Handler]:
    """Return a decorator for route handlers, which adds the profiles of the request's user as an argument.

    Errors become the body `{"error": message}` with a status: 403 for requests from other sites, 401 for unknown users,
    503 for file errors, and otherwise the status from `STATUS_BY_ERROR`.

    Args:
        server: ComfyUI's PromptServer.
    """

    def decorate(handler: ProfilesHandler) -> Handler:
        @wraps(handler)
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                require_same_origin(request)
                return await handler(request, profiles_of_user(request_user(server, request)))
            except RequestError as error:
                return error_response(error.status, str(error))
            except tuple(STATUS_BY_ERROR) as error:
                status = next(status for kind, status in STATUS_BY_ERROR.items() if isinstance(error, kind))
                return error_response(status, str(error))
            except OSError as error:
                log.warning("%s %s: %s", request.method, request.path, error)
                return error_response(503, f"The server could not read or write a file ({error.strerror}). Try again.")

        return handle

    return decorate


def error_response(status: int, message: str) -> web.Response:
    """Build the response for an error."""
    return web.json_response({"error": message}, status=status)


def request_user(server, request: web.Request) -> str:
    """Return the ComfyUI user of a request. Raises RequestError (401) if the user is unknown."""
    try:
        return server.user_manager.get_request_user_id(request)
    except KeyError as error:
        raise RequestError(
            401, "The user is unknown. Send the header Comfy-User with an id from GET /users."
        ) from error


def require_same_origin(request: web.Request) -> None:
    """Raise RequestError (403) for requests from pages of other sites.

    ComfyUI itself checks only requests to localhost, and ComfyUI before 0.20 ignores Sec-Fetch-Site. That header is
    needed because browsers send no Origin if a page of another site embeds an image.
    """
    origin, allowed = request.headers.get("Origin"), args.enable_cors_header
    cross_site = request.headers.get("Sec-Fetch-Site") == "cross-site"
    if allowed == "*" or (origin is not None and origin == allowed):
        return
    if cross_site or (origin is not None and not _is_same_host(origin, request.host)):
        site = "other sites" if origin is None else origin[:100]
        raise RequestError(403, f"Pages of {site} may not use this ComfyUI without --enable-cors-header.")


def _is_same_host(origin: str, host: str) -> bool:
    """Return whether an Origin header has the given host and port. The scheme's default port may be omitted."""
    try:
        page = URL(origin)
        server = URL(f"{page.scheme}://{host}")
        return (page.host, page.port) == (server.host, server.port) != (None, None)
    except ValueError:
        return False


async def body_chunks(request: web.Request, max_bytes: int, advice: str = "") -> AsyncIterator[bytes]:
    """Yield the body in chunks. Raises RequestError (413) as soon as it turns out to exceed `max_bytes`."""
    size = request.content_length or 0
    too_large = RequestError(413, f"The body is too large; expected at most {max_bytes:,} bytes{advice}.")
    if size > max_bytes:
        raise too_large
    size = 0
    async for chunk in request.content.iter_chunked(CHUNK_BYTES):
        size += len(chunk)
        if size > max_bytes:
            raise too_large
        yield chunk


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """Return the whole body. See `body_chunks`."""
    return b"".join([chunk async for chunk in body_chunks(request, max_bytes)])


async def read_json(request: web.Request) -> dict[str, Any]:
    """Return the JSON object in the body, or {} for an empty body. Raises RequestError (415, 413, 400)."""
    data = await read_body(request, MAX_JSON_BYTES)
    if not data:
        return {}
    require_content_type(request, "application/json")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RequestError(400, "The body is not a JSON object.")
    return content


def require_content_type(request: web.Request, *expected: str) -> None:
    """Raise RequestError (415) unless the body has an expected content type."""
    if request.content_type not in expected:
        raise RequestError(415, f"The body is {request.content_type}; expected {expected[0]}.")


def json_field(content: dict[str, Any], name: str, kind: type, default: object = None) -> Any:
    """Return a field of a JSON object, or its default. Raises RequestError (400) unless it has the expected type."""
    value = content.get(name, default)
    if not isinstance(value, kind):
        raise RequestError(400, f"{name!r} is {value!r:.60}; expected {'text' if kind is str else 'true or false'}.")
    return value


def query_number(request: web.Request, name: str, default: int, maximum: int) -> int:
    """Return a whole number in the query string, from 0 to `maximum`. Raises RequestError (400) for other values."""
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= maximum):
        raise RequestError(400, f"{name!r} is {text[:40]!r}; expected a whole number from 0 to {maximum}.")
    return int(text)


def query_liked(request: web.Request) -> bool:
    """Return `liked` from the query string. Raises RequestError (400) unless it is "true" or "false"."""
    text = request.query.get("liked", "")
    if text not in ("true", "false"):
        raise RequestError(400, f"'liked' is {text[:40]!r}; expected true or false.")
    return text == "true"


async def run_in_thread(function: Callable, *arguments: object) -> Any:
    """Call a blocking function in a thread, so that it does not block other requests."""
    return await asyncio.to_thread(function, *arguments)

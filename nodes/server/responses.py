"""How the pack's routes answer: whose request it is, what was wrong with it in one sentence, bodies of bounded size."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from functools import wraps

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

MOST_JSON = 64 * 1024
"""Bytes of a JSON body (default ours)."""

log = logging.getLogger(__name__)

Answer = Callable[[web.Request, Profiles], Awaitable[web.StreamResponse]]


class RequestError(Exception):
    """A request that is answered with this status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


STATUS = {
    OutsideFolderError: 403,
    ProfileNotFoundError: 404,
    ProfileUnavailableError: 503,
    NothingToUndoError: 409,
    ImageError: 415,
    ProfileError: 400,
}
"""What a request is told that led to one of these; the first that fits."""


def answering(server) -> Callable[[Answer], Callable[[web.Request], Awaitable[web.StreamResponse]]]:
    """A decorator: the handler gets the profiles of the request's user; what it raises becomes `{"error": sentence}`.

    403 for a page of another origin, 401 for a user whom ComfyUI does not know; see `STATUS` for the rest.
    """

    def decorate(handler: Answer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        @wraps(handler)
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                require_own_origin(request)
                return await handler(request, profiles_of_user(user_of(server, request)))
            except RequestError as refused:
                return problem(refused.status, str(refused))
            except tuple(STATUS) as error:
                status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
                return problem(status, str(error))
            except OSError as error:
                log.warning("%s %s: %s", request.method, request.path, error)
                return problem(503, f"The server cannot read or write a file now ({error.strerror}): try again.")

        return answer

    return decorate


def problem(status: int, sentence: str) -> web.Response:
    """An answer that says what was wrong."""
    return web.json_response({"error": sentence}, status=status)


def user_of(server, request: web.Request) -> str:
    """The ComfyUI user of a request. Raises Refused, 401."""
    try:
        return server.user_manager.get_request_user_id(request)
    except KeyError as error:
        raise RequestError(
            401, "ComfyUI knows no such user: send the header Comfy-User, an id of GET /users."
        ) from error


def require_own_origin(request: web.Request) -> None:
    """Raises Refused, 403, for a page of another site. ComfyUI itself looks only where it is asked for as localhost."""
    origin, allowed = request.headers.get("Origin"), args.enable_cors_header
    if origin is None or allowed in ("*", origin):
        return
    if not _same_place(origin, request.host) or request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise RequestError(
            403,
            f"A page of {origin[:100]} may not use this ComfyUI: open ComfyUI itself, or start it with "
            "--enable-cors-header.",
        )


def _same_place(origin: str, host: str) -> bool:
    """The same name and port, where the scheme's own port may be left out."""
    try:
        asked = URL(origin)
        own = URL(f"{asked.scheme}://{host}")
        return (asked.host, asked.port) == (own.host, own.port) != (None, None)
    except ValueError:
        return False


async def body(request: web.Request, most: int) -> bytes:
    """The whole body. Raises Refused, 413, as soon as it is seen to be larger than `most` bytes."""
    if (request.content_length or 0) > most:
        raise RequestError(413, f"The body is {request.content_length:,} bytes, expected at most {most:,}.")
    parts, size = [], 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > most:
            raise RequestError(413, f"The body is larger than {most:,} bytes.")
        parts.append(part)
    return b"".join(parts)


async def json_body(request: web.Request) -> dict:
    """The body's JSON object; {} where there is no body. Raises Refused: 415, 413, 400."""
    data = await body(request, MOST_JSON)
    if not data:
        return {}
    if request.content_type != "application/json":
        raise RequestError(415, f"The body is {request.content_type}, expected application/json.")
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "The body is no JSON.") from error
    if not isinstance(told, dict):
        raise RequestError(400, "The body is no JSON object.")
    return told


def field(told: dict, name: str, kind: type, default: object = None) -> object:
    """A field of a JSON object. Raises Refused, 400, where it is missing without a default, or of another type."""
    value = told.get(name, default)
    if not isinstance(value, kind):
        names = {str: "text", bool: "true or false"}
        raise RequestError(400, f"{name!r} is {value!r:.60}, expected {names[kind]}.")
    return value


def number(request: web.Request, name: str, default: int, most: int) -> int:
    """A whole number from 0 to `most` of the query. Raises Refused, 400."""
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= most):
        raise RequestError(400, f"{name!r} is {text[:40]!r}, expected a whole number from 0 to {most}.")
    return int(text)


async def aside(work: Callable, *given: object) -> object:
    """Do blocking work where it holds up no other request."""
    return await asyncio.to_thread(work, *given)

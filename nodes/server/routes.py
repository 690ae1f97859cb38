"""The pack's HTTP routes: rate, undo, list, look, forget, export, import. docs/routes.md describes them."""

from __future__ import annotations

import io
import tempfile
from typing import BinaryIO

from aiohttp import web
from yarl import URL

from ...prefgen.profile import (
    Profile,
    Profiles,
    Rating,
    StoredImage,
    export_profile,
    import_profile,
)
from ...prefgen.profile.images import MOST_BYTES, thumbnail
from ..drawing.profile_panel import draw_panel
from ..drawing.profile_view import panel_user, view_without_history
from . import temp_images
from .responses import (
    RequestError,
    answering,
    aside,
    body,
    field,
    json_body,
    number,
)

PREFIX = "/prefgen/profiles"
ONE = PREFIX + "/{profile}"
IMAGE = ONE + "/images/{image}"
PAGE, MOST_A_PAGE = 100, 10_000
SIZE, MOST_SIZE = 256, 1024
"""Pixels of a thumbnail's longest edge."""

WALL, MOST_WALL = 16, 60
"""Images a side of the picture of a profile."""

CHUNK = 2**20


def add_routes(server) -> None:
    """Put the routes into ComfyUI's table, which also serves them below /api. server: ComfyUI's PromptServer."""
    routes, answers = server.routes, answering(server)
    routes.get(PREFIX)(answers(profiles))
    routes.get(ONE)(answers(profile))
    routes.delete(ONE)(answers(forget_profile))
    routes.get(f"{ONE}/ratings")(answers(ratings))
    routes.post(f"{ONE}/ratings")(answers(rate))
    routes.post(f"{ONE}/undo")(answers(undo))
    routes.get(f"{ONE}/picture")(answers(picture))
    routes.get(IMAGE)(answers(image))
    routes.delete(IMAGE)(answers(forget_image))
    routes.get(f"{ONE}/export")(answers(export))
    routes.post(f"{ONE}/import")(answers(import_))


async def profiles(request: web.Request, mine: Profiles) -> web.Response:
    """All profiles of the user."""
    return web.json_response({"profiles": await aside(lambda: [about(mine.profile(name)) for name in mine.names()])})


async def profile(request: web.Request, mine: Profiles) -> web.Response:
    """One profile, in numbers."""
    return web.json_response(await aside(lambda: about(named(request, mine))))


async def ratings(request: web.Request, mine: Profiles) -> web.Response:
    """The ratings that count, newest first, a page of them; or those of some images; or likes, or dislikes, alone."""
    limit, offset = number(request, "limit", PAGE, MOST_A_PAGE), number(request, "offset", 0, 10**9)
    side = liked_of(request) if "liked" in request.query else None
    asked = [image for image in request.query.get("images", "").split(",") if image]

    def found() -> dict:
        person = named(request, mine)
        chosen = person.ratings[::-1]
        if asked:
            chosen = [rating for rating in map(person.rating, asked) if rating]
        if side is not None:
            chosen = [rating for rating in chosen if rating.liked is side]
        return about(person) | {"ratings": [told(rating) for rating in chosen[offset : offset + limit]]}

    return web.json_response(await aside(found))


async def rate(request: web.Request, mine: Profiles) -> web.Response:
    """Like or dislike one image: one that is known by its digest, one that ComfyUI saved, or the body itself."""
    person = mine.profile(request.match_info["profile"])
    if request.content_type.startswith("image/"):
        liked = liked_of(request)
        data, prompt = await body(request, MOST_BYTES), request.query.get("prompt", "")
        rating = await aside(lambda: person.rate(StoredImage.decode(data, "The body"), liked, prompt))
    else:
        asked = await json_body(request)
        liked, prompt = field(asked, "liked", bool), field(asked, "prompt", str, "")
        rating = await aside(lambda: person.rate(_known(person, asked), liked, prompt))
    return web.json_response({"rating": told(rating)} | await aside(about, person))


def _known(person: Profile, asked: dict) -> StoredImage | str:
    """An image by its digest, of the profile or shown by Record Preference; or by filename, subfolder and type."""
    if "image" in asked:
        digest = field(asked, "image", str)
        return digest if digest in person.image_digests() else temp_images.shown(digest) or digest
    return temp_images.saved(
        field(asked, "filename", str), field(asked, "subfolder", str, ""), field(asked, "type", str, "output")
    )


async def undo(request: web.Request, mine: Profiles) -> web.Response:
    """Take back the last rating: of the profile, or of one image."""
    asked = await json_body(request)
    image = field(asked, "image", str) if "image" in asked else None

    def undone() -> dict:
        person = named(request, mine)
        taken, now = person.undo(image)
        return {"undone": told(taken), "rating": now and told(now)} | about(person)

    return web.json_response(await aside(undone))


async def picture(request: web.Request, mine: Profiles) -> web.Response:
    """Counts and walls as one picture: what Show User Profile shows without a model."""
    most = max(1, number(request, "images", WALL, MOST_WALL))

    def drawn() -> bytes:
        person = view_without_history(named(request, mine))
        looks = {image.key: image.small() for image in person.newest(most)}
        file = io.BytesIO()
        draw_panel(panel_user(person, looks)).save(file, "WEBP", quality=90)
        return file.getvalue()

    return _webp(await aside(drawn), "no-store")


async def image(request: web.Request, mine: Profiles) -> web.Response:
    """An image of the profile, small."""
    size = max(1, number(request, "size", SIZE, MOST_SIZE))
    data = await aside(lambda: thumbnail(named(request, mine).image_path(request.match_info["image"]), size))
    # Private: it may be forgotten, and belongs to one of several users.
    return _webp(data, "private, max-age=3600")


def _webp(data: bytes, keep: str) -> web.Response:
    headers = {"Cache-Control": keep, "X-Content-Type-Options": "nosniff", "Vary": "Comfy-User"}
    return web.Response(body=data, content_type="image/webp", headers=headers)


async def forget_image(request: web.Request, mine: Profiles) -> web.Response:
    """Remove an image and its ratings for good."""

    def forget() -> dict:
        person, digest = named(request, mine), request.match_info["image"]
        person.forget_image(digest)
        temp_images.forget(digest)
        return about(person)

    return web.json_response(await aside(forget))


async def forget_profile(request: web.Request, mine: Profiles) -> web.Response:
    """Remove a profile for good."""
    await aside(mine.forget, request.match_info["profile"])
    return web.json_response({"forgotten": request.match_info["profile"]})


async def export(request: web.Request, mine: Profiles) -> web.StreamResponse:
    """The profile as one .zip."""
    with tempfile.TemporaryFile() as file:
        await aside(lambda: export_profile(named(request, mine), file))
        size = file.tell()
        name = URL.build(path=f"/{request.match_info['profile']}.prefgen.zip").raw_name  # percent-encoded
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Content-Length": str(size)}
        response = web.StreamResponse(headers=headers | {"Content-Type": "application/zip"})
        await response.prepare(request)
        file.seek(0)
        while part := await aside(file.read, CHUNK):
            await response.write(part)
        await response.write_eof()
        return response


async def import_(request: web.Request, mine: Profiles) -> web.Response:
    """Add an exported .zip, which is the body, to a profile. It may be as large as --max-upload-size allows."""
    name = request.match_info["profile"]
    mine.profile(name)
    if request.content_type not in ("application/zip", "application/x-zip-compressed", "application/octet-stream"):
        raise RequestError(415, f"The body is {request.content_type}, expected application/zip.")
    with tempfile.TemporaryFile() as file:
        await _receive(request, file, request.client_max_size)
        done = await aside(import_profile, mine, name, file)
    counts = {"ratings": done.ratings, "known": done.known, "images": done.images}
    return web.json_response({"imported": counts} | await aside(lambda: about(mine.profile(name))))


async def _receive(request: web.Request, file: BinaryIO, most: int) -> None:
    """Put the body into a file, no more than `most` bytes of it."""
    if (request.content_length or 0) > most:
        raise RequestError(
            413, f"The body is {request.content_length:,} bytes, expected at most {most:,} (--max-upload-size)."
        )
    async for part in request.content.iter_chunked(CHUNK):
        if file.tell() + len(part) > most:
            raise RequestError(413, f"The body is larger than {most:,} bytes (--max-upload-size).")
        await aside(file.write, part)
    file.seek(0)


def liked_of(request: web.Request) -> bool:
    """`liked` of the query. Raises Refused, 400."""
    liked = {"true": True, "false": False}.get(request.query.get("liked", ""))
    if liked is None:
        raise RequestError(400, "The query has no liked=true or liked=false.")
    return liked


def named(request: web.Request, mine: Profiles) -> Profile:
    """The profile of the path. Raises ProfileMissing, ProfileError."""
    return mine.existing(request.match_info["profile"])


def about(person: Profile) -> dict:
    """A profile in numbers. `updated`: when the newest rating was made, seconds since 1970."""
    found = person.ratings
    liked = sum(rating.liked for rating in found)
    counts = {"liked": liked, "disliked": len(found) - liked, "skipped": person.skipped}
    return {"name": person.name, "version": person.version, "updated": found[-1].time if found else None, **counts}


def told(rating: Rating) -> dict:
    """A rating as JSON."""
    return {"image": rating.image, "liked": rating.liked, "prompt": rating.prompt, "time": rating.time}

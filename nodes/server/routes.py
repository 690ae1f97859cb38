"""The HTTP routes of the pack: rate, undo, list, view, forget, export, import. See docs/routes.md."""

from __future__ import annotations

import io
import tempfile

from aiohttp import web
from yarl import URL

from ...prefgen.errors import ProfileError
from ...prefgen.profile import (
    Profile,
    Profiles,
    Rating,
    StoredImage,
    export_profile,
    import_profile,
)
from ...prefgen.profile.images import MAX_BYTES, encode_thumbnail
from ..drawing.profile_panel import draw_panel
from ..drawing.profile_view import panel_content, view_without_history
from . import temp_images
from .responses import (
    body_chunks,
    json_field,
    profiles_handler,
    query_liked,
    query_number,
    read_body,
    read_json,
    require_content_type,
    run_in_thread,
)

PREFIX = "/prefgen/profiles"
PROFILE = PREFIX + "/{profile}"
IMAGE = PROFILE + "/images/{image}"
PAGE_SIZE, MAX_PAGE_SIZE = 100, 10_000
THUMBNAIL_SIZE, MAX_THUMBNAIL_SIZE = 256, 1024
"""Default and maximum length of a thumbnail's longest edge in pixels."""

PANEL_IMAGES, MAX_PANEL_IMAGES = 16, 60
"""Default and maximum number of liked images, and of disliked images, in the picture of a profile."""

CHUNK_BYTES = 2**20
ZIP_TYPES = ("application/zip", "application/x-zip-compressed", "application/octet-stream")


def add_routes(server) -> None:
    """Add the routes to ComfyUI's route table, which also serves them under /api.

    Args:
        server: ComfyUI's PromptServer.
    """
    routes, handler = server.routes, profiles_handler(server)
    routes.get(PREFIX)(handler(get_profiles))
    routes.get(PROFILE)(handler(get_profile))
    routes.delete(PROFILE)(handler(delete_profile))
    routes.get(f"{PROFILE}/ratings")(handler(get_ratings))
    routes.post(f"{PROFILE}/ratings")(handler(rate))
    routes.post(f"{PROFILE}/undo")(handler(undo))
    routes.get(f"{PROFILE}/picture")(handler(get_picture))
    routes.get(IMAGE)(handler(get_image))
    routes.delete(IMAGE)(handler(delete_image))
    routes.get(f"{PROFILE}/export")(handler(export))
    routes.post(f"{PROFILE}/import")(handler(import_archive))


async def get_profiles(request: web.Request, profiles: Profiles) -> web.Response:
    """List the summaries of all the user's profiles, and the unusable folders with the reasons."""

    def summaries() -> dict[str, list[dict]]:
        usable, unusable = [], profiles.unusable()
        for name in profiles.names():
            try:
                usable.append(profile_summary(profiles.profile(name)))
            except ProfileError as error:
                unusable[name] = str(error)
        return {"profiles": usable, "unusable": [{"name": name, "error": why} for name, why in unusable.items()]}

    return web.json_response(await run_in_thread(summaries))


async def get_profile(request: web.Request, profiles: Profiles) -> web.Response:
    """Return the summary of one profile."""
    return web.json_response(await run_in_thread(lambda: profile_summary(requested_profile(request, profiles))))


async def get_ratings(request: web.Request, profiles: Profiles) -> web.Response:
    """List a page of the current ratings, newest first, optionally only of some images, or only likes or dislikes."""
    limit = query_number(request, "limit", PAGE_SIZE, MAX_PAGE_SIZE)
    offset = query_number(request, "offset", 0, 10**9)
    liked = query_liked(request) if "liked" in request.query else None
    images = [image for image in request.query.get("images", "").split(",") if image]

    def page() -> dict:
        profile = requested_profile(request, profiles)
        ratings = [rating for rating in map(profile.rating, images) if rating] if images else profile.ratings[::-1]
        if liked is not None:
            ratings = [rating for rating in ratings if rating.liked is liked]
        return profile_summary(profile) | {"ratings": list(map(rating_json, ratings[offset : offset + limit]))}

    return web.json_response(await run_in_thread(page))


async def rate(request: web.Request, profiles: Profiles) -> web.Response:
    """Like or dislike one image.

    The body is the image itself, or JSON with the image's digest or the location of a file that ComfyUI saved.
    """
    profile = profiles.profile(request.match_info["profile"])
    if request.content_type.startswith("image/"):
        liked, prompt = query_liked(request), request.query.get("prompt", "")
        data = await read_body(request, MAX_BYTES)
        rating = await run_in_thread(lambda: profile.rate(StoredImage.decode(data, "The body"), liked, prompt))
    else:
        content = await read_json(request)
        liked, prompt = json_field(content, "liked", bool), json_field(content, "prompt", str, "")
        rating = await run_in_thread(lambda: profile.rate(_find_image(profile, content), liked, prompt))
    return web.json_response({"rating": rating_json(rating)} | await run_in_thread(profile_summary, profile))


def _find_image(profile: Profile, content: dict) -> StoredImage | str:
    """Return the image that a JSON body identifies by digest, or by filename, subfolder and type."""
    if "image" in content:
        digest = json_field(content, "image", str)
        return digest if digest in profile.image_digests() else temp_images.load_temp(profile, digest) or digest
    return temp_images.load_comfyui_image(
        json_field(content, "filename", str),
        json_field(content, "subfolder", str, ""),
        json_field(content, "type", str, "output"),
    )


async def undo(request: web.Request, profiles: Profiles) -> web.Response:
    """Undo the last rating of the profile, or the last rating or all ratings of one image."""
    content = await read_json(request)
    image = json_field(content, "image", str) if "image" in content else None
    completely = json_field(content, "all", bool, False)

    def undo_rating() -> dict:
        profile = requested_profile(request, profiles)
        undone, current = profile.undo(image, completely)
        ratings = {"undone": rating_json(undone), "rating": current and rating_json(current)}
        return ratings | profile_summary(profile)

    return web.json_response(await run_in_thread(undo_rating))


async def get_picture(request: web.Request, profiles: Profiles) -> web.Response:
    """Return the picture that Show User Profile draws without a model."""
    count = max(1, query_number(request, "images", PANEL_IMAGES, MAX_PANEL_IMAGES))

    def draw() -> bytes:
        view = view_without_history(requested_profile(request, profiles))
        thumbnails = {image.key: image.thumbnail() for image in view.newest(count)}
        file = io.BytesIO()
        draw_panel(panel_content(view, thumbnails)).save(file, "WEBP", quality=90)
        return file.getvalue()

    return _webp_response(await run_in_thread(draw), "no-store")


async def get_image(request: web.Request, profiles: Profiles) -> web.Response:
    """Return a thumbnail of an image."""
    size = max(1, query_number(request, "size", THUMBNAIL_SIZE, MAX_THUMBNAIL_SIZE))

    def encode() -> bytes:
        return encode_thumbnail(requested_profile(request, profiles).image_path(request.match_info["image"]), size)

    # Private, because it belongs to one of several users. Only for an hour, because it may be deleted.
    return _webp_response(await run_in_thread(encode), "private, max-age=3600")


def _webp_response(data: bytes, cache_control: str) -> web.Response:
    headers = {"Cache-Control": cache_control, "X-Content-Type-Options": "nosniff", "Vary": "Comfy-User"}
    return web.Response(body=data, content_type="image/webp", headers=headers)


async def delete_image(request: web.Request, profiles: Profiles) -> web.Response:
    """Delete an image and its ratings."""

    def delete() -> dict:
        profile, digest = requested_profile(request, profiles), request.match_info["image"]
        profile.forget_image(digest)
        temp_images.delete_temp(profile, digest)
        return profile_summary(profile)

    return web.json_response(await run_in_thread(delete))


async def delete_profile(request: web.Request, profiles: Profiles) -> web.Response:
    """Delete a profile, and its images in the temporary folder."""

    def delete() -> None:
        profile = requested_profile(request, profiles)
        profiles.forget(request.match_info["profile"])
        temp_images.delete_all_temp(profile)

    await run_in_thread(delete)
    return web.json_response({"forgotten": request.match_info["profile"]})


async def export(request: web.Request, profiles: Profiles) -> web.StreamResponse:
    """Return the profile as a .zip file."""
    with tempfile.TemporaryFile() as file:
        await run_in_thread(lambda: export_profile(requested_profile(request, profiles), file))
        size = file.tell()
        name = URL.build(path=f"/{request.match_info['profile']}.prefgen.zip").raw_name  # percent-encoded
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Content-Length": str(size)}
        response = web.StreamResponse(headers=headers | {"Content-Type": "application/zip"})
        await response.prepare(request)
        file.seek(0)
        while chunk := await run_in_thread(file.read, CHUNK_BYTES):
            await response.write(chunk)
        await response.write_eof()
        return response


async def import_archive(request: web.Request, profiles: Profiles) -> web.Response:
    """Add an exported .zip, sent as the body, to a profile. ComfyUI's --max-upload-size limits its size."""
    name = request.match_info["profile"]
    profiles.profile(name)
    require_content_type(request, *ZIP_TYPES)
    with tempfile.TemporaryFile() as file:
        async for chunk in body_chunks(request, request.client_max_size, " (--max-upload-size)"):
            await run_in_thread(file.write, chunk)
        file.seek(0)
        result = await run_in_thread(import_profile, profiles, name, file)
    counts = {"ratings": result.ratings, "known": result.known, "images": result.images}
    summary = await run_in_thread(lambda: profile_summary(profiles.profile(name)))
    return web.json_response({"imported": counts} | summary)


def requested_profile(request: web.Request, profiles: Profiles) -> Profile:
    """Return the profile in the request's path. Raises ProfileError, or ProfileNotFoundError."""
    return profiles.existing(request.match_info["profile"])


def profile_summary(profile: Profile) -> dict:
    """Return a summary of a profile as JSON. `updated` is the time of the newest rating, in seconds since 1970."""
    ratings = profile.ratings
    liked = sum(rating.liked for rating in ratings)
    return {
        "name": profile.name,
        "version": profile.version,
        "updated": ratings[-1].time if ratings else None,
        "liked": liked,
        "disliked": len(ratings) - liked,
        "skipped": profile.skipped,
    }


def rating_json(rating: Rating) -> dict:
    """Return a rating as JSON."""
    return {"image": rating.image, "liked": rating.liked, "prompt": rating.prompt, "time": rating.time}

"""Whose profiles: with `--multi-user` ComfyUI keeps its users apart by a header of their requests; so does the pack.

A node runs long after its request, and is told nothing of it. So the request's user is noted where the prompt comes in,
and each of the pack's nodes in it that opens profiles is given a word that only this process can turn back into a user:
no user's id gets into the images that ComfyUI saves with the prompt inside. Being an input, it also keeps cached
results apart. Without `--multi-user` there is one user, and nothing of this is set up.
"""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path

import folder_paths
from aiohttp import web
from comfy.cli_args import args

from ...prefgen.errors import ProfileError
from ...prefgen.pocket.users import bundled_users
from ...prefgen.profile import Profiles

USER_TOKEN = "prefgen_user_token"
"""The input that a prompt's nodes are given."""

NODES_WITH_PROFILES = ("LoadUserHistory", "RecordPreference", "ShowUserProfile")
DEFAULT_USER = "default"

_asking: ContextVar[str | None] = ContextVar("prefgen_user", default=None)
_words: dict[str, str] = {}


def profiles_of_user(user: str) -> Profiles:
    """One ComfyUI user's profiles, in their own part of ComfyUI's user directory. Raises ProfileError for a user who
    has none."""
    folder = folder_paths.get_public_user_directory(user)
    if folder is None:
        raise ProfileError(f"{user[:64]!r} is no user who can have profiles: choose a user of this ComfyUI.")
    return _profiles(Path(folder) / "prefgen" / "profiles")


@lru_cache(maxsize=256)
def _profiles(root: Path) -> Profiles:
    return Profiles(root, taken=bundled_users())


def profiles_of_request() -> Profiles | None:
    """The profiles of whoever made the request that is being answered; None where it names no user."""
    user = _asking.get() if args.multi_user else DEFAULT_USER
    return None if user is None else profiles_of_user(user)


def profiles_for_node(inputs: dict) -> Profiles:
    """The profiles of whoever queued a node. inputs: what it was given beside its schema's inputs. Raises ProfileError
    where users are kept apart and the prompt came from none."""
    user = _words.get(inputs.get(USER_TOKEN, "")) if args.multi_user else DEFAULT_USER
    if user is None:
        raise ProfileError(
            "This ComfyUI keeps its users apart (--multi-user), and the prompt came from none of them: send it with "
            "the header Comfy-User, a user's id of GET /users."
        )
    return profiles_of_user(user)


def note_users(server) -> None:
    """Set up, once, at start, what keeps users apart. server: ComfyUI's PromptServer."""
    if not args.multi_user:
        return

    @web.middleware
    async def note_user(request: web.Request, handler) -> web.StreamResponse:
        try:
            user = server.user_manager.get_request_user_id(request)
        except KeyError:
            user = None
        noted = _asking.set(user)
        try:
            return await handler(request)
        finally:
            _asking.reset(noted)

    server.app.middlewares.append(note_user)
    server.add_on_prompt_handler(_mark)


def _mark(queued: dict) -> dict:
    """Tell the prompt's nodes whose they are, whatever they say themselves."""
    graph = queued.get("prompt")
    for node in graph.values() if isinstance(graph, dict) else ():
        if isinstance(node, dict) and node.get("class_type") in NODES_WITH_PROFILES:
            node.setdefault("inputs", {})[USER_TOKEN] = _word_for(_asking.get())
    return queued


def _word_for(user: str | None) -> str:
    if user is None:
        return ""
    for word, known in _words.items():
        if known == user:
            return word
    word = secrets.token_hex(8)
    _words[word] = user
    return word

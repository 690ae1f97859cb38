"""Maps a prompt to the ComfyUI user who queued it, so that `--multi-user` servers keep profiles apart.

ComfyUI identifies users by a request header, but does not tell a node whose prompt it runs. Therefore the user is
recorded when a prompt arrives, and the prompt's nodes that use profiles get a hidden input: an opaque token that only
this process can map back to the user. User ids therefore do not end up in saved images, which contain the prompt.
Because the token is an input, it also keeps the cached results of different users apart. Without `--multi-user` there
is only one user, and nothing is installed.
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
"""Name of the hidden input."""

NODES_WITH_PROFILES = ("LoadUserHistory", "RecordPreference", "ShowUserProfile")
DEFAULT_USER = "default"

_request_user: ContextVar[str | None] = ContextVar("prefgen_request_user", default=None)
_tokens: dict[str, str] = {}
"""The token of each user."""


def profiles_of_user(user: str) -> Profiles:
    """Return the profiles in a ComfyUI user's folder.

    Raises:
        ProfileError: ComfyUI has no folder for this user.
    """
    folder = folder_paths.get_public_user_directory(user)
    if folder is None:
        raise ProfileError(f"{user[:64]!r} cannot have profiles. Choose a user that exists in this ComfyUI.")
    return _profiles_in(Path(folder) / "prefgen" / "profiles")


@lru_cache(maxsize=256)
def _profiles_in(root: Path) -> Profiles:
    return Profiles(root, reserved_names=bundled_users())


def profiles_of_request() -> Profiles | None:
    """Return the profiles of the user whose request is being handled, or None for an unknown user."""
    user = _request_user.get() if args.multi_user else DEFAULT_USER
    return None if user is None else profiles_of_user(user)


def profiles_for_node(hidden_inputs: dict[str, str]) -> Profiles:
    """Return the profiles of the user who queued a node.

    Args:
        hidden_inputs: The node's inputs that are not in its schema.

    Raises:
        ProfileError: The server has several users, and none of them queued the prompt.
    """
    token = hidden_inputs.get(USER_TOKEN)
    user = next((user for user, known in _tokens.items() if known == token), None) if args.multi_user else DEFAULT_USER
    if user is None:
        raise ProfileError(
            "This ComfyUI separates its users (--multi-user), and the prompt came from none of them. Send it with the "
            "header Comfy-User and an id from GET /users."
        )
    return profiles_of_user(user)


def install_user_tracking(server) -> None:
    """Install the middleware and the prompt handler that track users. Called once, at startup.

    Args:
        server: ComfyUI's PromptServer.
    """
    if not args.multi_user:
        return

    @web.middleware
    async def note_user(request: web.Request, handler) -> web.StreamResponse:
        try:
            user = server.user_manager.get_request_user_id(request)
        except KeyError:
            user = None
        reset_token = _request_user.set(user)
        try:
            return await handler(request)
        finally:
            _request_user.reset(reset_token)

    server.app.middlewares.append(note_user)
    server.add_on_prompt_handler(_add_user_token)


def _add_user_token(queued: dict) -> dict:
    """Set the hidden input of a prompt's nodes, overwriting any value that the prompt already contains."""
    graph = queued.get("prompt")
    for node in graph.values() if isinstance(graph, dict) else ():
        if isinstance(node, dict) and node.get("class_type") in NODES_WITH_PROFILES:
            node.setdefault("inputs", {})[USER_TOKEN] = _token_of(_request_user.get())
    return queued


def _token_of(user: str | None) -> str:
    return "" if user is None else _tokens.setdefault(user, secrets.token_hex(8))

"""BuildUserHistory and LoadUserHistory: nodes that provide a user's pairs of liked and disliked images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from comfy.utils import common_upscale
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..prefgen.errors import ProfileError, ProfileUnavailableError
from ..prefgen.history import History, NothingLiked, UserHistory
from ..prefgen.pocket.users import bundled_history, bundled_users
from ..prefgen.profile import (
    SELECTION_RULES,
    Profile,
    Profiles,
    SelectionConfig,
    read_history,
    select_history,
)
from .images import split_batches, to_comfy
from .inputs import check_inputs
from .server.request_user import profiles_for_node, profiles_of_request
from .sockets import HistoryType

STOP, PAINT_PLAINLY = "stop", "paint plainly"
"""Options for a profile without likes."""

HISTORY_TIP = "Connect it to Encode User History, Preference Score or ReNO Optimize."


class BuildUserHistory(io.ComfyNode):
    """Builds a history from two batches of images: liked image i is paired with disliked image i."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BuildUserHistory",
            display_name="Build User History",
            category="PrefGen",
            description="Builds a user's history from images they liked and disliked. Eight pairs work best; two help "
            "already.",
            search_aliases=["prefgen", "liked disliked", "ratings", "taste", "user preferences", "pairs"],
            inputs=[
                io.Image.Input("liked", tooltip="Images that the user liked: a batch, or a list of any sizes."),
                io.Image.Input(
                    "disliked",
                    tooltip="As many images that the user disliked. Each is paired with the liked image at the same "
                    "position.",
                ),
                io.String.Input(
                    "prompts",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="Prompts of the images: one line per pair, one line for all pairs, or nothing.",
                ),
                io.String.Input("name", default="me", optional=True, tooltip="The user's name, shown in messages."),
            ],
            outputs=[HistoryType.Output(display_name="history", tooltip=HISTORY_TIP)],
            is_input_list=True,
        )

    @classmethod
    @check_inputs
    def execute(
        cls, liked: list[torch.Tensor], disliked: list[torch.Tensor], prompts: str = "", name: str = "me"
    ) -> io.NodeOutput:
        lines = [line.strip() for line in prompts.strip("\n").splitlines()] if prompts.strip() else None
        images = split_batches(liked, "liked"), split_batches(disliked, "disliked")
        return io.NodeOutput(UserHistory.from_images(*images, lines, name))


def selection_inputs() -> list[io.Input]:
    """Return the inputs that select pairs of a profile."""
    return [
        io.Int.Input(
            "max_pairs",
            default=8,
            min=1,
            max=64,
            optional=True,
            tooltip="Maximum number of pairs. Preference models are trained on 8. More take longer to read, once.",
        ),
        io.Combo.Input(
            "select",
            options=list(SELECTION_RULES),
            default=SELECTION_RULES[0],
            optional=True,
            tooltip="Which pairs to use if the profile has more: the newest (latest), those that look least alike "
            "(diverse), or first those with one prompt for both images (same prompt).",
        ),
        io.Float.Input(
            "half_life_days",
            default=0.0,
            min=0.0,
            max=3650.0,
            step=1.0,
            optional=True,
            tooltip="Days after which a rating has half the weight in the selection of pairs (diverse, same prompt). "
            "0 ignores age.",
        ),
    ]


def user_options() -> list[str]:
    """Return the bundled users, followed by the profiles of the user who sent the request."""
    profiles = profiles_of_request()
    return bundled_users() + (profiles.names() if profiles else [])


def user_input() -> io.Input:
    """Return the input for a user's name. It accepts linked text, so that one node can set the name for all others."""
    choice = io.Combo.Input(
        "user",
        options=user_options(),
        tooltip="A bundled user (ada, bo) or one of your profiles. Press R to refresh the list.",
    )
    return io.MultiType.Input(choice, types=[io.String])


def check_user_name(user: str | None) -> bool | str:
    """Return True if a user name is valid, otherwise an error message. Used by `validate_inputs`.

    The profile may not exist yet: this prompt may create it, or it was created after the page was loaded. A linked
    name is None here.
    """
    profiles = profiles_of_request()
    if user is not None and user not in bundled_users() and profiles is not None:
        try:
            profiles.profile(user)
        except ProfileError as error:
            return str(error)
    return True


def profile_versions(profiles: Profiles, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the name and version of each profile, for `fingerprint_inputs`. A rating changes the version."""

    def version(name: str) -> str:
        try:
            return profiles.profile(name).version
        except ProfileError as error:  # one unreadable profile must not affect the others
            return str(error)

    return [(name, version(name)) for name in names]


class LoadUserHistory(io.ComfyNode):
    """Loads the history of a profile, or of a bundled user."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadUserHistory",
            display_name="Load User History",
            category="PrefGen",
            description="Loads the history of a profile that Record Preference saved, or of a bundled user.",
            search_aliases=[
                "prefgen",
                "example user",
                "ada",
                "bo",
                "taste",
                "favourites",
                "favorites",
                "profile",
                "my ratings",
            ],
            inputs=[
                user_input(),
                *selection_inputs(),
                io.Combo.Input(
                    "when_unrated",
                    options=[STOP, PAINT_PLAINLY],
                    default=STOP,
                    optional=True,
                    tooltip="What to do while the profile has no likes: stop with an error, which also reveals a "
                    "mistyped name, or paint plainly, as without the adapter.",
                ),
            ],
            outputs=[
                HistoryType.Output(display_name="history", tooltip=HISTORY_TIP),
                io.Image.Output(display_name="liked", tooltip="The liked images of the history."),
                io.Image.Output(
                    display_name="disliked",
                    tooltip="The disliked images of the history. Connected nodes wait until there is one.",
                ),
            ],
            accept_all_inputs=True,  # for the token of server/request_user.py
        )

    @classmethod
    def validate_inputs(cls, user: str | None = None) -> bool | str:
        return check_user_name(user)

    @classmethod
    def fingerprint_inputs(
        cls,
        user: str | None,
        **inputs: object,
    ) -> str | list[tuple[str, str]]:
        """Return a value that changes with every rating of the profile.

        If the name is linked and therefore unknown (None), it changes with every rating of any profile.
        """
        if user in bundled_users():
            return user
        profiles = profiles_for_node(inputs)
        return profile_versions(profiles, profiles.names() if user is None else [user])

    @classmethod
    @check_inputs
    def execute(
        cls,
        user: str,
        max_pairs: int = 8,
        select: str = SELECTION_RULES[0],
        half_life_days: float = 0.0,
        when_unrated: str = STOP,
        **hidden_inputs: str,
    ) -> io.NodeOutput:
        config = SelectionConfig(max_pairs, select, half_life_days)
        if user in bundled_users():
            complete = bundled_history(user)
            history = UserHistory(complete.pairs[-config.max_pairs :], complete.name)
            return io.NodeOutput(history, *_preview_images(history))
        profile = profiles_for_node(hidden_inputs).profile(user)
        history = read_profile(profile, config, when_unrated)
        return io.NodeOutput(history, *_preview_images(history), ui={"text": [summarize(profile, history)]})


def read_profile(profile: Profile, config: SelectionConfig, when_unrated: str) -> History:
    """Read the history of a profile.

    Raises:
        ProfileError: The profile has no likes, and `when_unrated` is not `PAINT_PLAINLY`.
    """
    try:
        selection = select_history(profile.profiles.existing(profile.name), config)
    except ProfileUnavailableError:
        raise
    except ProfileError as error:
        if when_unrated != PAINT_PLAINLY:
            raise
        return NothingLiked(profile.name, str(error))
    return read_history(profile, selection)


def _preview_images(history: History) -> tuple[torch.Tensor | ExecutionBlocker, ...]:
    """Return the liked and the disliked images. A side without images is an ExecutionBlocker."""
    sides = (history.liked_images, history.disliked_images)
    return tuple(to_comfy(same_size_batch(images)) if images else ExecutionBlocker(None) for images in sides)


def summarize(profile: Profile, history: History) -> str:
    """Describe in one line what a profile contains, and which part of it is used."""
    liked = sum(rating.liked for rating in profile.ratings)
    text = f"{profile.name}: {liked} liked, {len(profile.ratings) - liked} disliked; {history.summary}"
    return text + (f"; {profile.skipped} lines of its file are malformed" if profile.skipped else "")


def same_size_batch(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Combine images (3, H, W) of any sizes into one batch (N, 3, H, W) for viewing.

    All images are scaled to the size of the largest one, and cropped to its aspect ratio.
    """
    height, width = max((tuple(image.shape[1:]) for image in images), key=lambda size: size[0] * size[1])
    resized = [
        image[None]
        if image.shape[1:] == (height, width)
        else common_upscale(image[None], width, height, "area", "center")
        for image in images
    ]
    return torch.cat(resized)


NODES = [BuildUserHistory, LoadUserHistory]

"""BuildUserHistory and LoadUserHistory: where a user's pairs of liked and disliked images come from."""

from __future__ import annotations

import torch
from comfy.utils import common_upscale
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..prefgen.errors import HistoryError, ProfileError, ProfileUnavailableError
from ..prefgen.history import LikedImages, NothingLiked, UserHistory
from ..prefgen.pocket.users import BUNDLED_USERS_FOLDER, bundled_users
from ..prefgen.profile import (
    SELECTION_RULES,
    HistorySelection,
    Profile,
    SelectionConfig,
    read_history,
    select_history,
)
from ..prefgen.validation import require_text
from .images import from_comfy, to_comfy
from .server.request_user import USER_TOKEN, profiles_for_node, profiles_of_request
from .sockets import HistoryType

STOP, PAINT_PLAINLY = "stop", "paint plainly"
"""What becomes of a profile of which nothing is liked yet."""

HISTORY_TIP = "Connect to Encode User History, Preference Score or ReNO Optimize."


class BuildUserHistory(io.ComfyNode):
    """A history out of two batches: image i of one is paired with image i of the other."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BuildUserHistory",
            display_name="Build User History",
            category="PrefGen",
            description="Pairs of images one person liked and disliked. Eight pairs work best; two already help.",
            search_aliases=["prefgen", "liked disliked", "ratings", "taste", "user preferences", "pairs"],
            inputs=[
                io.Image.Input("liked", tooltip="Images the person liked, as one batch."),
                io.Image.Input(
                    "disliked", tooltip="Images they disliked, as many: each is paired with the liked one of its place."
                ),
                io.String.Input(
                    "prompts",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="What the images were made for: a line for each pair, one line for all, or none.",
                ),
                io.String.Input("name", default="me", optional=True, tooltip="Whose taste it is; shown in messages."),
            ],
            outputs=[HistoryType.Output(display_name="history", tooltip=HISTORY_TIP)],
        )

    @classmethod
    def execute(cls, liked: torch.Tensor, disliked: torch.Tensor, prompts: str = "", name: str = "me") -> io.NodeOutput:
        # Folders may have such names, and the command line takes them; the page is told the name, and cannot be.
        require_text(name, "The name of a history", HistoryError)
        lines = [line.strip() for line in prompts.strip("\n").splitlines()] if prompts.strip() else None
        images = from_comfy(liked, "liked"), from_comfy(disliked, "disliked")
        return io.NodeOutput(UserHistory.from_images(*images, lines, name))


def selection_inputs() -> list[io.Input]:
    """Which pairs of a profile make the history."""
    return [
        io.Int.Input(
            "max_pairs",
            default=8,
            min=1,
            max=64,
            optional=True,
            tooltip="Pairs at most. Preference models are trained on 8; more take longer to read, once.",
        ),
        io.Combo.Input(
            "select",
            options=list(SELECTION_RULES),
            default=SELECTION_RULES[0],
            optional=True,
            tooltip="Which pairs of a profile, where there are more: the newest, those that look least alike, or first "
            "those whose two images were made for the same prompt.",
        ),
        io.Float.Input(
            "half_life_days",
            default=0.0,
            min=0.0,
            max=3650.0,
            step=1.0,
            optional=True,
            tooltip="After so many days a rating counts half when pairs are chosen (diverse, same prompt). 0: age does "
            "not count.",
        ),
    ]


def user_name_error(user: str) -> bool | str:
    """Why a name can be no profile's, else True. Not held to those that are there: a profile may begin in this very
    prompt, or have been rated since the page was loaded."""
    profiles = profiles_of_request()
    if user in bundled_users() or profiles is None:
        return True
    try:
        profiles.profile(user)
    except ProfileError as error:
        return str(error)
    return True


class LoadUserHistory(io.ComfyNode):
    """The history of a profile that was rated, or of one of the bundled people."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        mine = profiles_of_request()
        return io.Schema(
            node_id="LoadUserHistory",
            display_name="Load User History",
            category="PrefGen",
            description="The pairs of somebody whose ratings Record Preference keeps, or of the people in the pack.",
            search_aliases=["prefgen", "example user", "ada", "bo", "taste", "profile", "my ratings"],
            inputs=[
                io.Combo.Input(
                    "user",
                    options=bundled_users() + (mine.names() if mine else []),
                    tooltip="Whose history: the people in the pack, then the profiles that were rated here. "
                    "Refresh (R) shows new ones.",
                ),
                *selection_inputs(),
                io.Combo.Input(
                    "when_unrated",
                    options=[STOP, PAINT_PLAINLY],
                    default=STOP,
                    optional=True,
                    tooltip="As long as nothing of the profile is liked: stop, which shows a name that is mistyped, or "
                    "paint plainly, as if there were no adapter.",
                ),
            ],
            outputs=[
                HistoryType.Output(display_name="history", tooltip=HISTORY_TIP),
                io.Image.Output(display_name="liked", tooltip="The images they liked, to look at."),
                io.Image.Output(
                    display_name="disliked",
                    tooltip="The images they disliked, pair by pair. Nodes behind it wait until there is one.",
                ),
            ],
            accept_all_inputs=True,  # see server/request_user.py
        )

    @classmethod
    def validate_inputs(cls, user: str) -> bool | str:
        return user_name_error(user)

    @classmethod
    def fingerprint_inputs(
        cls,
        user: str,
        max_pairs: int = 8,
        select: str = SELECTION_RULES[0],
        half_life_days: float = 0.0,
        when_unrated: str = STOP,
        **owner: str,
    ) -> str:
        """What is chosen, not all that is rated: a rating that changes no pair re-runs nothing."""
        if user in bundled_users():
            return user
        chosen = _chosen(user, SelectionConfig(max_pairs, select, half_life_days), when_unrated, owner)
        return chosen.digest

    @classmethod
    def execute(
        cls,
        user: str,
        max_pairs: int = 8,
        select: str = SELECTION_RULES[0],
        half_life_days: float = 0.0,
        when_unrated: str = STOP,
        **owner: str,
    ) -> io.NodeOutput:
        selection = SelectionConfig(max_pairs, select, half_life_days)
        if user in bundled_users():
            whole = UserHistory.from_folder(BUNDLED_USERS_FOLDER / user)
            history, told = UserHistory(whole.pairs[-selection.most :], whole.name), ""
        else:
            chosen, profile = _chosen(user, selection, when_unrated, owner), _profile(user, owner)
            history = chosen if isinstance(chosen, NothingLiked) else read_history(profile, chosen)
            told = summary(profile, history)
        return io.NodeOutput(history, *_looked_at(history), ui={"text": [told]} if told else None)


def _profile(name: str, owner: dict[str, str]) -> Profile:
    return profiles_for_node({USER_TOKEN: owner.get(USER_TOKEN, "")}).profile(name)


def _chosen(
    name: str, selection: SelectionConfig, when_unrated: str, owner: dict[str, str]
) -> HistorySelection | NothingLiked:
    """What of a profile is read. Raises ProfileError where nothing is liked, unless it may go on without."""
    profile = _profile(name, owner)
    try:
        return select_history(profile.profiles.existing(name), selection)
    except ProfileUnavailableError:
        raise
    except ProfileError as error:
        if when_unrated != PAINT_PLAINLY:
            raise
        return NothingLiked(profile.name, str(error))


def _looked_at(history: UserHistory | LikedImages | NothingLiked) -> tuple[torch.Tensor | ExecutionBlocker, ...]:
    """The liked and the disliked images; nodes behind a side without any wait."""
    if isinstance(history, NothingLiked):
        return ExecutionBlocker(None), ExecutionBlocker(None)
    if isinstance(history, LikedImages):
        return to_comfy(batch(history.liked)), ExecutionBlocker(None)
    return tuple(to_comfy(batch([getattr(pair, side) for pair in history.pairs])) for side in ("liked", "disliked"))


def summary(profile: Profile, history: UserHistory | LikedImages | NothingLiked) -> str:
    """What a profile holds and what of it is used, in one line."""
    liked = sum(rating.liked for rating in profile.ratings)
    told = f"{profile.name}: {liked} liked, {len(profile.ratings) - liked} disliked"
    if isinstance(history, NothingLiked):
        told += "; painted plainly, until an image is liked"
    elif isinstance(history, LikedImages):
        told += f"; the liked images alone ({len(history.liked)}), until there is a disliked one"
    else:
        told += f"; {len(history)} pairs"
    return told + (f"; {profile.skipped} lines of its file cannot be read" if profile.skipped else "")


def batch(images) -> torch.Tensor:
    """Images (3, H, W) of any sizes as one batch (N, 3, H, W): all in the size of the largest, cut where they have
    other proportions. To look at; a history keeps its images as they are."""
    height, width = max((tuple(image.shape[1:]) for image in images), key=lambda size: size[0] * size[1])
    fitted = [
        image[None]
        if image.shape[1:] == (height, width)
        else common_upscale(image[None], width, height, "area", "center")
        for image in images
    ]
    return torch.cat(fitted)


NODES = [BuildUserHistory, LoadUserHistory]

"""ShowUserProfile: a node that draws a user's profile as a picture."""

from __future__ import annotations

import logging
from collections.abc import Callable

import comfy.model_management
import comfy.utils
from comfy_api.latest import io, ui

from ..prefgen.checkpoint.clip_vision_model import ClipPreferenceModel
from ..prefgen.checkpoint.preference_model import PreferenceModel
from ..prefgen.cross_validation import cross_validated_scores, roc_auc
from ..prefgen.errors import ProfileError
from ..prefgen.pocket.users import bundled_users
from ..prefgen.profile import SELECTION_RULES, Profiles, SelectionConfig
from ..prefgen.user_similarity import (
    PreferenceDirection,
    compute_preference_direction,
    token_contributions,
    user_similarity,
)
from .drawing.profile_panel import RatedThumbnail, SimilarUser, draw_panel
from .drawing.profile_view import ProfileImage, ProfileView, load_profile_view, panel_content
from .history import check_user_name, profile_versions, selection_inputs, user_input
from .images import from_pil
from .inputs import check_inputs
from .memory.model_management import load_scorer
from .server.request_user import profiles_for_node
from .sockets import PreferenceModelType

MAX_COMPARED = 7
"""Maximum number of other users to compare with. Comparing takes two passes per user. The limit is our choice."""

TARGETS = 3
"""Number of images on which users' attention is compared. The number is our choice."""

THUMBNAILS = 3
"""Number of images that are shown for each similar user."""

NO_PAIRS = "Predictions and similar users need a liked and a disliked image. {name} does not have both yet."
NO_SCORES = "{count} images have no prediction, because every pair contains them. Rate more images."

NO_SIMILAR_USERS = (
    "Each prediction comes from the ratings of the other images. Similar users need a PrefDisc checkpoint."
)

Step = Callable[[int], None]

log = logging.getLogger(__name__)


class ShowUserProfile(io.ComfyNode):
    """Draws a profile's rated images. With a preference model, it also draws predicted scores and similar users."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ShowUserProfile",
            display_name="Show User Profile",
            category="PrefGen",
            description="Draws a profile: the liked and disliked images, how well the preference model predicts the "
            "ratings, and which users have a similar taste.",
            search_aliases=["prefgen", "my taste", "my ratings", "profile panel", "liked images", "similar users"],
            is_output_node=True,
            inputs=[
                user_input(),
                PreferenceModelType.Input(
                    "preference_model",
                    optional=True,
                    tooltip="Preference model that predicts ratings and compares users. Without it, only the rated "
                    "images are shown.",
                ),
                io.Int.Input(
                    "images",
                    default=16,
                    min=1,
                    max=60,
                    optional=True,
                    tooltip="Maximum number of liked images, and of disliked images, to show. The newest are shown.",
                ),
                io.String.Input(
                    "compare_with",
                    default="",
                    optional=True,
                    tooltip="Names of the users to compare with, separated by commas. Empty compares with up to 7, the "
                    "most recently rated first.",
                ),
                *selection_inputs(),
            ],
            outputs=[io.Image.Output(display_name="picture", tooltip="The profile as one picture.")],
            accept_all_inputs=True,  # for the token of server/request_user.py
        )

    @classmethod
    def validate_inputs(cls, user: str | None = None) -> bool | str:
        return check_user_name(user)

    @classmethod
    def fingerprint_inputs(
        cls, user: str | None, compare_with: str | None = "", **inputs: str
    ) -> list[tuple[str, str]]:
        """Return a value that changes with every rating of the user and of the compared users.

        If a name is linked, it changes with every rating of any user.
        """
        profiles = profiles_for_node(inputs)
        if user is None or compare_with is None:
            return profile_versions(profiles, profiles.names())
        try:
            names = [user, *users_to_compare(user, compare_with, profiles)]
        except ProfileError as error:  # `execute` raises it; ComfyUI would log it as a warning here
            return [(user, str(error))]
        return profile_versions(profiles, [name for name in names if name not in bundled_users()])

    @classmethod
    @check_inputs
    def execute(
        cls,
        user: str,
        preference_model: PreferenceModel | None = None,
        images: int = 16,
        compare_with: str = "",
        max_pairs: int = 8,
        select: str = SELECTION_RULES[0],
        half_life_days: float = 0.0,
        **hidden_inputs: str,
    ) -> io.NodeOutput:
        config, profiles = SelectionConfig(max_pairs, select, half_life_days), profiles_for_node(hidden_inputs)
        view = load_profile_view(user, profiles, config)
        names = users_to_compare(user, compare_with, profiles)
        newest = view.newest(images)
        thumbnails = {image.key: image.thumbnail() for image in newest}
        scores, similar, notes = {}, [], []
        if preference_model is not None and view.history is None:
            notes.append(NO_PAIRS.format(name=view.name))
        elif isinstance(preference_model, ClipPreferenceModel):
            load_scorer(preference_model, len(view.images))
            ratings = [image.as_rating(order) for order, image in enumerate(reversed(view.images))]
            all_scores = preference_model.scorer.cross_validate(ratings)
            scores = {image.key: all_scores[image.key] for image in newest if image.key in all_scores}
            notes.append(NO_SIMILAR_USERS)
        elif preference_model is not None:
            others = [load_profile_view(name, profiles, config) for name in names]
            scores, similar = analyze(preference_model, view, newest, [other for other in others if other.history])
            if len(scores) < len(newest):
                notes.append(NO_SCORES.format(count=len(newest) - len(scores)))
        scored = [image for image in newest if image.key in scores]
        rated = [RatedThumbnail(thumbnails[image.key], image.liked, scores[image.key]) for image in scored]
        picture = from_pil(draw_panel(panel_content(view, thumbnails), rated, similar, notes))
        auc = roc_auc(*([scores[image.key] for image in scored if image.liked is liked] for liked in (True, False)))
        output = {
            "profile": [view.name],
            "liked": [view.liked],
            "disliked": [view.disliked],
            "scores": [{"image": image.key, "liked": image.liked, "score": scores[image.key]} for image in scored],
            "told_apart": [] if auc is None else [auc],
            "alike": [{"name": one.name, "likeness": one.similarity, "tokens": list(one.tokens)} for one in similar],
            "text": [f"{view.name}: {view.liked} liked, {view.disliked} disliked", *notes],
        }
        return io.NodeOutput(picture, ui={"images": ui.PreviewImage(picture, cls=cls).values, **output})


def users_to_compare(user: str, compare_with: str, profiles: Profiles) -> list[str]:
    """Return the users to compare with: the named users, or all users with pairs, most recently rated first.

    Raises:
        ProfileNotFoundError: A named user does not exist.
    """
    names = [name.strip() for name in compare_with.split(",") if name.strip()]
    for name in names:
        if name not in bundled_users():
            profiles.existing(name)
    if not names:
        by_time = []
        for name in profiles.names():
            try:
                ratings = profiles.profile(name).ratings
            except ProfileError as error:
                log.warning("%s is not compared: %s", name, error)
                continue
            if {rating.liked for rating in ratings} == {True, False}:  # pairs need likes and dislikes
                by_time.append((ratings[-1].time, name))
        names = [name for _, name in sorted(by_time, reverse=True)] + bundled_users()
    return [name for name in dict.fromkeys(names) if name != user][:MAX_COMPARED]


def analyze(
    model: PreferenceModel, view: ProfileView, images: list[ProfileImage], others: list[ProfileView]
) -> tuple[dict[str, float], list[SimilarUser]]:
    """Score images by cross-validation, and compare the user with others.

    Returns:
        The scores by image key, and the other users, most similar first. An image that is in every pair has no score.
    """
    load_scorer(model, 2 * len(view.history))
    step = progress_step(len(images) + 2 * (1 + len(others)) if others else len(images))
    scores = cross_validated_scores(
        model, view.history, view.pair_keys, {image.key: image.read for image in images}, step
    )
    return scores, compare_users(model, view, others, step) if others else []


def compare_users(
    model: PreferenceModel, view: ProfileView, others: list[ProfileView], step: Step
) -> list[SimilarUser]:
    """Compare the tastes of users on a few images, if possible on images that are not in the user's history."""
    in_history = {key for pair in view.pair_keys for key in pair}
    unseen = [image for image in view.images if image.key not in in_history]
    liked = [image for image in view.images if image.liked]
    targets = [image.read() for image in (unseen or liked)[:TARGETS]]

    def direction_of(one: ProfileView) -> PreferenceDirection:
        return compute_preference_direction(model, one.history, targets, lambda: step(1))

    direction = direction_of(view)
    similar = [_similar_user(other, direction, direction_of(other)) for other in others]
    return sorted(similar, key=lambda one: -one.similarity)


def _similar_user(view: ProfileView, direction: PreferenceDirection, other: PreferenceDirection) -> SimilarUser:
    liked = [image for image in view.images if image.liked][:THUMBNAILS]
    tokens = tuple(token_contributions(direction, other).tolist())
    thumbnails = tuple(image.thumbnail() for image in liked)
    return SimilarUser(view.name, thumbnails, user_similarity(direction, other), tokens)


def progress_step(total: int) -> Step:
    """Return a function that advances the progress bar, and raises if the user has interrupted the prompt."""
    bar = comfy.utils.ProgressBar(total)

    def step(done: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update(done)

    return step


NODES = [ShowUserProfile]

"""ShowUserProfile: a person's profile as a picture."""

from __future__ import annotations

import comfy.model_management
import comfy.utils
from comfy_api.latest import io, ui

from ..prefgen.checkpoint.preference_model import PreferenceModel
from ..prefgen.cross_validation import cross_validated_scores, roc_auc
from ..prefgen.pocket.users import bundled_users
from ..prefgen.profile import SELECTION_RULES, Profiles, SelectionConfig
from ..prefgen.user_similarity import (
    PreferenceDirection,
    compute_preference_direction,
    token_contributions,
    user_similarity,
)
from .drawing.profile_panel import RatedThumbnail, SimilarUser, draw_panel
from .drawing.profile_view import ProfileView, load_profile_view, panel_user
from .history import selection_inputs, user_name_error
from .images import from_pil
from .memory.model_management import ready
from .server.request_user import profiles_for_node, profiles_of_request
from .sockets import PreferenceModelType

MOST_KIN = 7
"""Others who are compared at most: each is read twice (default ours)."""

TARGETS, FACES = 3, 3
"""Images that everybody looks at; images that stand for a person."""

NO_PAIRS = "The model's guesses, and who is alike, take a liked and a disliked image, which {name} does not have yet."
NO_SCORES = "{count} images have no guess: every pair that is read shows them. Rate more images."


class ShowUserProfile(io.ComfyNode):
    """Counts and walls of what was rated; with a preference model, how well it is foretold and who is alike."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        mine = profiles_of_request()
        return io.Schema(
            node_id="ShowUserProfile",
            display_name="Show User Profile",
            category="PrefGen",
            description="A person's profile as a picture: what they liked and disliked, how well the model guesses it, "
            "and with whom they share their taste.",
            search_aliases=["prefgen", "my taste", "my ratings", "profile panel", "liked images", "similar users"],
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "user",
                    options=bundled_users() + (mine.names() if mine else []),
                    tooltip="Whose profile: the people in the pack, then the profiles that were rated here. Refresh "
                    "(R) shows new ones.",
                ),
                PreferenceModelType.Input(
                    "preference_model",
                    optional=True,
                    tooltip="The preference model that guesses and compares. Without one: what was rated, at once.",
                ),
                io.Int.Input(
                    "images",
                    default=16,
                    min=1,
                    max=60,
                    optional=True,
                    tooltip="Liked and disliked images that are shown, the newest, so many of each.",
                ),
                io.String.Input(
                    "compare_with",
                    default="",
                    optional=True,
                    tooltip="Whom to compare with: names, with commas between. Empty: everybody here, the last rated "
                    "first, up to 7.",
                ),
                *selection_inputs(),
            ],
            outputs=[io.Image.Output(display_name="picture", tooltip="The profile as one picture.")],
            accept_all_inputs=True,  # see server/request_user.py
        )

    @classmethod
    def validate_inputs(cls, user: str) -> bool | str:
        return user_name_error(user)

    @classmethod
    def fingerprint_inputs(cls, user: str, compare_with: str = "", **inputs) -> list[tuple[str, str]]:
        """Another after every rating of somebody who is shown."""
        profiles = profiles_for_node(inputs)
        names = [user, *others(user, compare_with or "", profiles)]
        return [(name, "" if name in bundled_users() else profiles.existing(name).version) for name in names]

    @classmethod
    def execute(
        cls,
        user: str,
        preference_model: PreferenceModel | None = None,
        images: int = 16,
        compare_with: str = "",
        max_pairs: int = 8,
        select: str = SELECTION_RULES[0],
        half_life_days: float = 0.0,
        **owner: str,
    ) -> io.NodeOutput:
        selection, profiles = SelectionConfig(max_pairs, select, half_life_days), profiles_for_node(owner)
        person = load_profile_view(user, profiles, selection)
        names = others(user, compare_with, profiles)
        newest = person.newest(images)
        looks = {image.key: image.small() for image in newest}
        scores, kin, notes = {}, [], []
        if preference_model is not None and person.history is None:
            notes.append(NO_PAIRS.format(name=person.name))
        elif preference_model is not None:
            prefdisc = preference_model.require("prefdisc")
            ready(preference_model, "prefdisc", memory=prefdisc.working_bytes(2 * len(person.history)))
            compared = [
                other for other in (load_profile_view(name, profiles, selection) for name in names) if other.history
            ]
            step = progress_of(len(newest) + 2 * (1 + len(compared)) if compared else len(newest))
            scores = cross_validated_scores(
                preference_model, person.history, person.keys, {one.key: one.read for one in newest}, step
            )
            kin = alike(preference_model, person, compared, lambda: step(1))
            if len(scores) < len(newest):
                notes.append(NO_SCORES.format(count=len(newest) - len(scores)))
        scored = [RatedThumbnail(looks[one.key], one.liked, scores[one.key]) for one in newest if one.key in scores]
        apart = roc_auc(*([one.score for one in scored if one.liked is liked] for liked in (True, False)))
        picture = from_pil(draw_panel(panel_user(person, looks), scored, kin, notes))
        told = {
            "profile": [person.name],
            "liked": [person.liked],
            "disliked": [person.disliked],
            "scores": [
                {"image": one.key, "liked": one.liked, "score": scores[one.key]} for one in newest if one.key in scores
            ],
            "told_apart": [] if apart is None else [apart],
            "alike": [{"name": one.name, "likeness": one.likeness, "tokens": list(one.tokens)} for one in kin],
            "text": [f"{person.name}: {person.liked} liked, {person.disliked} disliked", *notes],
        }
        return io.NodeOutput(picture, ui={"images": ui.PreviewImage(picture, cls=cls).values, **told})


def others(user: str, compare_with: str, profiles: Profiles) -> list[str]:
    """Whom to compare with: who is named, else everybody, the last rated first. Raises ProfileMissing for a name that
    nobody has."""
    named = [name.strip() for name in compare_with.split(",") if name.strip()]
    for name in named:
        if name not in bundled_users():
            profiles.existing(name)
    if not named:
        rated = [(ratings, name) for name in profiles.names() if (ratings := profiles.profile(name).ratings)]
        # Who has no pair cannot be compared, and takes nobody's place.
        paired = [(ratings[-1].time, name) for ratings, name in rated if len({one.liked for one in ratings}) == 2]
        named = [name for _, name in sorted(paired, reverse=True)] + bundled_users()
    return [name for name in dict.fromkeys(named) if name != user][:MOST_KIN]


def alike(model: PreferenceModel, person: ProfileView, compared: list[ProfileView], progress) -> list[SimilarUser]:
    """The others, the most alike first; all look at the same images, of which the person's history shows none if it
    can be helped."""
    if not compared:
        return []
    shown = {key for pair in person.keys for key in pair}
    unseen = [image for image in person.images if image.key not in shown]
    liked = [image for image in person.images if image.liked]
    targets = [image.read() for image in (unseen or liked)[:TARGETS]]
    own = compute_preference_direction(model, person.history, targets, progress)
    found = [
        _kin(other, own, compute_preference_direction(model, other.history, targets, progress)) for other in compared
    ]
    return sorted(found, key=lambda one: -one.likeness)


def _kin(other: ProfileView, own: PreferenceDirection, theirs: PreferenceDirection) -> SimilarUser:
    liked = [image for image in other.images if image.liked][:FACES]
    return SimilarUser(
        other.name,
        tuple(image.small() for image in liked),
        user_similarity(own, theirs),
        tuple(token_contributions(own, theirs).tolist()),
    )


def progress_of(total: int):
    """A function that is told how much is done more; an interrupt ends the work there."""
    bar = comfy.utils.ProgressBar(total)

    def step(done: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update(done)

    return step


NODES = [ShowUserProfile]

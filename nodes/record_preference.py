"""RecordPreference: shows images, and keeps which of them a person liked and disliked."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..prefgen.errors import ProfileError
from ..prefgen.profile import Profile, StoredImage
from .images import from_comfy, to_pil
from .server.request_user import profiles_for_node, profiles_of_request
from .server.temp_images import show


class RecordPreference(io.ComfyNode):
    """An output node: its images can be rated by their places here, and at any time later through the pack's routes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        places = {"default": "", "optional": True, "advanced": True}
        return io.Schema(
            node_id="RecordPreference",
            display_name="Record Preference",
            category="PrefGen",
            description="Keeps which images a person likes and dislikes, in a profile that Load User History reads.",
            search_aliases=[
                "prefgen",
                "rate images",
                "like dislike",
                "thumbs up",
                "feedback",
                "learn my taste",
                "profile",
            ],
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="The images to rate, as one batch."),
                io.String.Input(
                    "profile", default="me", tooltip="Whose ratings: a profile's name. The first rating makes it."
                ),
                io.String.Input(
                    "prompt",
                    default="",  # on one line: the node's room is for its images
                    optional=True,
                    tooltip="What the images were made for. Pairs are made of images of the same prompt first.",
                ),
                io.String.Input(
                    "liked", tooltip='Places of liked images in the batch, from 0: "0, 3". For scripts.', **places
                ),
                io.String.Input("disliked", tooltip='Places of disliked images: "1". For scripts.', **places),
            ],
            accept_all_inputs=True,  # see server/request_user.py
        )

    @classmethod
    def validate_inputs(cls, profile: str) -> bool | str:
        profiles = profiles_of_request()
        try:
            if profiles is not None:
                profiles.profile(profile)
        except ProfileError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, profile: str, **inputs: str) -> str:
        """Another after every rating: what is shown as rated is never old."""
        return profiles_for_node(inputs).profile(profile).version

    @classmethod
    def execute(
        cls,
        images: torch.Tensor,
        profile: str,
        prompt: str = "",
        liked: str = "",
        disliked: str = "",
        **owner: str,
    ) -> io.NodeOutput:
        person = profiles_for_node(owner).profile(profile)
        pictures = as_pictures(from_comfy(images, "images"))
        likes, dislikes = (
            places(text, len(pictures), what) for text, what in ((liked, "liked"), (disliked, "disliked"))
        )
        both = sorted(set(likes) & set(dislikes))
        if both:
            raise ProfileError(f"Image {both[0]} is in liked and in disliked, expected in one: correct the places.")
        person.rate_all(
            [(pictures[place], True) for place in likes] + [(pictures[place], False) for place in dislikes], prompt
        )
        shown = [show(picture) for picture in pictures]
        return io.NodeOutput(ui={"images": shown, **state(person, pictures), "prompt": [prompt]})


def state(person: Profile, pictures: list[StoredImage]) -> dict[str, list]:
    """What a profile says of images, for the browser and for scripts: `digests` and `ratings` (true, false, or null) by
    place, and how many are `liked` and `disliked` in the whole profile."""
    ratings = [person.rating(picture.digest) for picture in pictures]
    liked = sum(rating.liked for rating in person.ratings)
    disliked = len(person.ratings) - liked
    return {
        "digests": [picture.digest for picture in pictures],
        "ratings": [rating and rating.liked for rating in ratings],
        "profile": [person.name],
        "version": [person.version],
        "liked": [liked],
        "disliked": [disliked],
        "text": [f"{person.name}: {liked} liked, {disliked} disliked"],
    }


def as_pictures(images: torch.Tensor) -> list[StoredImage]:
    """(B, 3, H, W) in [0, 1] as what a profile keeps."""
    return [StoredImage.of(to_pil(image)) for image in images]


def places(text: str, count: int, what: str) -> list[int]:
    """Places that a person wrote, "0, 3". Raises ProfileError for what is no place of the batch."""
    found = text.replace(",", " ").split()
    wrong = [word for word in found if not (word.isascii() and word.isdigit() and len(word) < 9 and int(word) < count)]
    if wrong:
        raise ProfileError(
            f"{what} names {wrong[0][:40]!r}, expected places of the {count} images, from 0 to {count - 1}, as in "
            '"0, 3": correct the places.'
        )
    return list(dict.fromkeys(int(word) for word in found))


NODES = [RecordPreference]

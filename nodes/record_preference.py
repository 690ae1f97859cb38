"""RecordPreference: a node that shows images, and saves which of them the user likes and dislikes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from comfy_api.latest import io

from ..prefgen.errors import ProfileError
from ..prefgen.profile import Profile, StoredImage
from .history import profile_versions
from .images import list_images, to_pil
from .inputs import check_inputs
from .server.request_user import profiles_for_node, profiles_of_request
from .server.temp_images import save_temp


class RecordPreference(io.ComfyNode):
    """Shows a batch of images. They can be rated by index here, or later in the browser or through HTTP routes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        index_options = {"default": "", "optional": True, "advanced": True}
        return io.Schema(
            node_id="RecordPreference",
            display_name="Record Preference (Like, Dislike)",  # search ranks names before aliases
            category="PrefGen",
            description="Saves which images you like and dislike in a profile, which Load User History loads.",
            search_aliases=[
                "prefgen",
                "like",
                "dislike",
                "favourite",
                "favorite",
                "rate images",
                "thumbs up",
                "feedback",
                "learn my taste",
                "profile",
            ],
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="The images to rate: a batch, or a list of images of any sizes."),
                io.String.Input("profile", default="me", tooltip="Name of the profile. The first rating creates it."),
                io.String.Input(
                    "prompt",
                    default="",  # one line, to leave space for the images
                    optional=True,
                    tooltip="Prompt of the images. Images of the same prompt are paired first.",
                ),
                io.String.Input(
                    "liked",
                    tooltip='For scripts: positions of the liked images, counted from 0, such as "0, 3".',
                    **index_options,
                ),
                io.String.Input(
                    "disliked",
                    tooltip='For scripts: positions of the disliked images, such as "1".',
                    **index_options,
                ),
            ],
            accept_all_inputs=True,  # for the token of server/request_user.py
            is_input_list=True,
        )

    @classmethod
    def validate_inputs(cls, profile: Sequence[str | None] = (None,)) -> bool | str:
        profiles = profiles_of_request()
        try:
            if profiles is not None and profile[0] is not None:  # a linked name is None
                profiles.profile(profile[0])
        except ProfileError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, profile: Sequence[str | None], **inputs: Sequence) -> list[tuple[str, str]]:
        """Return a value that changes with every rating, so that the node never shows outdated ratings."""
        profiles = profiles_for_node({name: values[0] for name, values in inputs.items()})
        return profile_versions(profiles, profiles.names() if profile[0] is None else profile)

    @classmethod
    @check_inputs
    def execute(
        cls,
        images: list[torch.Tensor],
        profile: str,
        prompt: str = "",
        liked: str = "",
        disliked: str = "",
        **hidden_inputs: str,
    ) -> io.NodeOutput:
        opened = profiles_for_node(hidden_inputs).profile(profile)
        stored = [StoredImage.from_pil(to_pil(image)) for image in list_images(images, "images")]
        likes, dislikes = parse_indices(liked, len(stored), "liked"), parse_indices(disliked, len(stored), "disliked")
        contradictory = sorted(set(likes) & set(dislikes))
        if contradictory:
            raise ProfileError(f"Image {contradictory[0]} is in both liked and disliked; expected one of them.")
        rated = [(stored[index], True) for index in likes] + [(stored[index], False) for index in dislikes]
        opened.rate_all(rated, prompt)
        files = [save_temp(opened, image) for image in stored]
        return io.NodeOutput(ui={"images": files, **rating_state(opened, stored), "prompt": [prompt]})


def rating_state(profile: Profile, images: list[StoredImage]) -> dict[str, list]:
    """Return the ratings of images for the browser and for scripts.

    Returns:
        For each image its digest and rating (True, False or None), and the counts of the whole profile.
    """
    ratings = [profile.rating(image.digest) for image in images]
    liked = sum(rating.liked for rating in profile.ratings)
    disliked = len(profile.ratings) - liked
    return {
        "digests": [image.digest for image in images],
        "ratings": [rating and rating.liked for rating in ratings],
        "profile": [profile.name],
        "version": [profile.version],
        "liked": [liked],
        "disliked": [disliked],
        "text": [f"{profile.name}: {liked} liked, {disliked} disliked"],
    }


def parse_indices(text: str, count: int, name: str) -> list[int]:
    """Parse indices such as "0, 3".

    Args:
        count: Number of images in the batch.
        name: The input's name.

    Raises:
        ProfileError: A word is not the index of an image in the batch.
    """
    indices = []
    for word in text.replace(",", " ").split():
        if not (word.isascii() and word.isdigit() and len(word) < 9 and int(word) < count):
            raise ProfileError(f'{name} contains {word[:40]!r}; expected numbers from 0 to {count - 1}, as in "0, 3".')
        indices.append(int(word))
    return list(dict.fromkeys(indices))


NODES = [RecordPreference]

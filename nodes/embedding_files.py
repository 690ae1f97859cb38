"""The nodes SaveUserEmbedding, LoadUserEmbedding and BlendUserEmbeddings."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..prefgen.embedding import UserEmbedding, blend, distance, load_embedding, save_embedding
from ..prefgen.errors import EmbeddingError
from ..prefgen.profile.names import is_windows_device_name
from ..prefgen.validation import format_value
from .inputs import check_inputs
from .load_model import file_stamp
from .sockets import EmbeddingType

FOLDER = "prefgen_embeddings"
ENDING = ".safetensors"
MAX_NAME_BYTES = 255
"""Maximum length of a file name with its extension, in bytes, on common file systems."""

FORBIDDEN_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories that file names must not contain: control, surrogate, line and paragraph separators."""


def folder() -> Path:
    """Return the folder of the embeddings. It is in ComfyUI's user directory, because embeddings are personal data."""
    path = Path(folder_paths.get_user_directory()) / "prefgen" / "embeddings"
    path.mkdir(parents=True, exist_ok=True)
    folder_paths.add_model_folder_path(FOLDER, str(path))
    return path


def saved() -> list[str]:
    """Return the files that Load User Embedding offers, including those in folders from extra_model_paths.yaml."""
    folder()
    return [name for name in folder_paths.get_filename_list(FOLDER) if name.endswith(ENDING)]


class SaveUserEmbedding(io.ComfyNode):
    """Saves a user embedding as a small file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveUserEmbedding",
            display_name="Save User Embedding",
            category="PrefGen",
            description="Saves a user embedding as a small file in user/prefgen/embeddings, without images.",
            search_aliases=["prefgen", "store taste", "export user"],
            is_output_node=True,
            inputs=[
                EmbeddingType.Input(
                    "embedding", tooltip="User embedding from Encode User History or Blend User Embeddings."
                ),
                io.String.Input(
                    "filename",
                    default="",
                    tooltip="File name. Empty: the user's name. An existing file is replaced.",
                ),
            ],
            outputs=[io.String.Output(display_name="filename", tooltip="File name in Load User Embedding.")],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs) -> float:
        """Make the node run every time, because the file may have been removed or replaced."""
        return float("nan")  # a new object each time; the same object would count as unchanged

    @classmethod
    @check_inputs
    def execute(cls, embedding: UserEmbedding, filename: str) -> io.NodeOutput:
        path = folder() / _file_name(filename.strip() or embedding.name)
        if path.is_dir():
            raise EmbeddingError(f"{path.name} is a folder in {path.parent}; expected a file. Choose another filename.")
        save_embedding(path, embedding)
        return io.NodeOutput(path.name, ui={"text": [f"{embedding.name}: {path.name}"]})


def _file_name(name: str) -> str:
    """Return the file name for a name. Raises EmbeddingError if it is not valid on all operating systems."""
    name = name.removesuffix(ENDING)
    if (
        not name
        or name[0] == "."
        or name != name.strip(" .")
        or not set(name).isdisjoint('/\\:*?"<>|')
        or any(unicodedata.category(letter) in FORBIDDEN_CATEGORIES for letter in name)
        or len(name) > 100
        or len(f"{name}{ENDING}".encode()) > MAX_NAME_BYTES
        or is_windows_device_name(name)
    ):
        raise EmbeddingError(
            f"{format_value(name)} is not a file name that all systems accept; expected at most 100 letters, digits "
            f"and spaces, and at most {MAX_NAME_BYTES - len(ENDING)} bytes. Choose another filename."
        )
    return name + ENDING


class LoadUserEmbedding(io.ComfyNode):
    """Loads a user embedding from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadUserEmbedding",
            display_name="Load User Embedding",
            category="PrefGen",
            description="Loads a user embedding that Save User Embedding saved. The history is not needed again.",
            search_aliases=["prefgen", "stored taste", "import user"],
            inputs=[io.Combo.Input("file", options=saved(), tooltip="File in user/prefgen/embeddings.")],
            outputs=[
                EmbeddingType.Output(
                    display_name="embedding",
                    tooltip="User embedding, for Apply Preference Adapter with the preference model that encoded it.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **inputs: object) -> list[tuple[str, int, int]]:
        """Return a value that changes with the file, or with any file if the name is linked and thus unknown (None)."""
        return [file_stamp(name, _path(name)) for name in (saved() if file is None else [file])]

    @classmethod
    @check_inputs
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(load_embedding(_path(file)))


def _path(file: str) -> Path:
    folder()
    return Path(folder_paths.get_full_path_or_raise(FOLDER, file))


class BlendUserEmbeddings(io.ComfyNode):
    """Blends the embeddings of two users, and measures their distance."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        share = {"default": 0.5, "min": 0.0, "max": 1.0, "step": 0.05}
        return io.Schema(
            node_id="BlendUserEmbeddings",
            display_name="Blend User Embeddings",
            category="PrefGen",
            description="Blends two users, for images that both may like, and measures how far apart their tastes are.",
            search_aliases=["prefgen", "mix users", "two people", "interpolate taste", "compare users"],
            inputs=[
                EmbeddingType.Input("embedding_a", tooltip="First user."),
                EmbeddingType.Input("embedding_b", tooltip="Second user, encoded by the same preference model."),
                io.Float.Input(
                    "weight_a", tooltip="Weight of the first user. Only the ratio of the weights matters.", **share
                ),
                io.Float.Input("weight_b", tooltip="Weight of the second user.", **share),
            ],
            outputs=[
                EmbeddingType.Output(
                    display_name="embedding", tooltip="Blended user embedding, for Apply Preference Adapter."
                ),
                io.Float.Output(
                    display_name="distance",
                    tooltip="Distance of the two users: 0 for the same taste, 1 for unrelated, 2 for opposite tastes.",
                ),
            ],
        )

    @classmethod
    @check_inputs
    def execute(
        cls, embedding_a: UserEmbedding, embedding_b: UserEmbedding, weight_a: float, weight_b: float
    ) -> io.NodeOutput:
        blended = blend([embedding_a, embedding_b], [weight_a, weight_b])
        apart = distance(embedding_a, embedding_b)
        text = f"{embedding_a.name} and {embedding_b.name}: distance {apart:.3f}"
        return io.NodeOutput(blended, apart, ui={"distance": [apart], "text": [text]})


NODES = [SaveUserEmbedding, LoadUserEmbedding, BlendUserEmbeddings]

"""SaveUserEmbedding, LoadUserEmbedding, BlendUserEmbeddings: people's tastes as files, and mixed."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..prefgen.embedding import UserEmbedding, blend, distance, load_embedding, save_embedding
from ..prefgen.errors import EmbeddingError
from ..prefgen.profile.store import is_windows_device_name
from ..prefgen.validation import format_value
from .sockets import EmbeddingType

FOLDER = "prefgen_embeddings"
ENDING = ".safetensors"
MOST_BYTES = 255
"""Of a file's name, its ending too, on the usual file systems; a letter may be four."""

NO_TEXT = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters, halves of characters, and ends of lines and paragraphs."""


def folder() -> Path:
    """Where embeddings lie: in ComfyUI's user directory, since they are a person's own, and no model."""
    path = Path(folder_paths.get_user_directory()) / "prefgen" / "embeddings"
    path.mkdir(parents=True, exist_ok=True)
    folder_paths.add_model_folder_path(FOLDER, str(path))
    return path


def saved() -> list[str]:
    """The files that Load User Embedding offers (further folders come from extra_model_paths.yaml)."""
    folder()
    return [name for name in folder_paths.get_filename_list(FOLDER) if name.endswith(ENDING)]


class SaveUserEmbedding(io.ComfyNode):
    """A user embedding as a small file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveUserEmbedding",
            display_name="Save User Embedding",
            category="PrefGen",
            description="Keeps a person's taste as a small file, without their images, in user/prefgen/embeddings.",
            search_aliases=["prefgen", "store taste", "export user"],
            is_output_node=True,
            inputs=[
                EmbeddingType.Input("embedding", tooltip="The person's taste: from Encode or Blend."),
                io.String.Input(
                    "filename",
                    default="",
                    tooltip="The file's name; left empty, the person's. A file of that name is replaced.",
                ),
            ],
            outputs=[io.String.Output(display_name="filename", tooltip="What Load User Embedding calls the file.")],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs) -> float:
        """Written at every run: the file may have been taken away, or replaced, since the last."""
        return float("nan")  # a new one, since the same object would equal itself

    @classmethod
    def execute(cls, embedding: UserEmbedding, filename: str) -> io.NodeOutput:
        path = folder() / _file_name(filename.strip() or embedding.name)
        if path.is_dir():
            raise EmbeddingError(f"{path.name} is a folder in {path.parent}, expected a file: write another filename.")
        save_embedding(path, embedding)
        return io.NodeOutput(path.name, ui={"text": [f"{embedding.name}: {path.name}"]})


def _file_name(name: str) -> str:
    """A name as a file's. Raises EmbeddingError for one that would lie elsewhere, or that some system does not take."""
    name = name.removesuffix(ENDING)
    if (
        not name
        or name[0] == "."
        or name != name.strip(" .")
        or not set(name).isdisjoint('/\\:*?"<>|')
        or any(unicodedata.category(letter) in NO_TEXT for letter in name)
        or len(name) > 100
        or len(f"{name}{ENDING}".encode()) > MOST_BYTES
        or is_windows_device_name(name)
    ):
        raise EmbeddingError(
            f"{format_value(name)} cannot be the name of a file, expected up to 100 letters, digits, spaces and the "
            f"like, of {MOST_BYTES - len(ENDING)} bytes at most, and no name that Windows reserves: write another "
            "filename."
        )
    return name + ENDING


class LoadUserEmbedding(io.ComfyNode):
    """A user embedding from its file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadUserEmbedding",
            display_name="Load User Embedding",
            category="PrefGen",
            description="A person's taste, as Save User Embedding kept it: no history has to be read again.",
            search_aliases=["prefgen", "stored taste", "import user"],
            inputs=[io.Combo.Input("file", options=saved(), tooltip="A file in user/prefgen/embeddings.")],
            outputs=[
                EmbeddingType.Output(
                    display_name="embedding",
                    tooltip="For Apply Preference Adapter, with the preference model that read the person's history.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str) -> tuple[str, int, int]:
        found = _path(file).stat()
        return file, found.st_mtime_ns, found.st_size

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(load_embedding(_path(file)))


def _path(file: str) -> Path:
    folder()
    return Path(folder_paths.get_full_path_or_raise(FOLDER, file))


class BlendUserEmbeddings(io.ComfyNode):
    """Two people's tastes in one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        share = {"default": 0.5, "min": 0.0, "max": 1.0, "step": 0.05}
        return io.Schema(
            node_id="BlendUserEmbeddings",
            display_name="Blend User Embeddings",
            category="PrefGen",
            description="One taste out of two people's, for images that both may like; and how far apart they are.",
            search_aliases=["prefgen", "mix users", "two people", "interpolate taste", "compare users"],
            inputs=[
                EmbeddingType.Input("embedding_a", tooltip="One person's taste."),
                EmbeddingType.Input("embedding_b", tooltip="The other's, read by the same preference model."),
                io.Float.Input(
                    "weight_a", tooltip="How much the one counts; only the weights' shares matter.", **share
                ),
                io.Float.Input("weight_b", tooltip="How much the other counts.", **share),
            ],
            outputs=[
                EmbeddingType.Output(display_name="embedding", tooltip="The blend, for Apply Preference Adapter."),
                io.Float.Output(
                    display_name="distance",
                    tooltip="How far apart the two are: 0 for the same taste, 1 for unrelated ones, 2 for opposites.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, embedding_a: UserEmbedding, embedding_b: UserEmbedding, weight_a: float, weight_b: float
    ) -> io.NodeOutput:
        mixed, apart = blend([embedding_a, embedding_b], [weight_a, weight_b]), distance(embedding_a, embedding_b)
        text = f"{embedding_a.name} and {embedding_b.name}: distance {apart:.3f}"
        return io.NodeOutput(mixed, apart, ui={"distance": [apart], "text": [text]})


NODES = [SaveUserEmbedding, LoadUserEmbedding, BlendUserEmbeddings]

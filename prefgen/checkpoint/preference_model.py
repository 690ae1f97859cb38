"""The preference model: loads a preference checkpoint with its base model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..errors import CheckpointError
from ..pocket import shapes
from ..prefdisc.base import hub
from ..prefdisc.base.locate import POCKET_BASE, BaseLoadOptions, BaseLocation, locate_base
from ..prefdisc.base.quantization import restore_int8_scales
from ..prefdisc.prefix_cache import PrefixCache
from ..safefile import fingerprint
from ..validation import errors_as, first_nonfinite
from .file import Checkpoint, read_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from ..adapter import PreferenceAdapter, UserParts
    from ..alignment import Alignment
    from ..embedding.image_tower import ImageTower
    from ..history import History, UserHistory
    from ..prefdisc.base.huggingface import Progress
    from ..prefdisc.config import PrefDiscSpec
    from ..prefdisc.model import PrefDisc
    from ..prefdisc.prefix import HistoryPrefix
    from ..taste.scorer import TasteScorer

POCKET = "pocket"

log = logging.getLogger(__name__)


class PreferenceModel(nn.Module):
    """A loaded preference checkpoint. Parts that the file does not have are None.

    Attributes:
        checkpoint: The file's content.
        prefdisc: Scores images.
        image_tower: Computes the `img` part of user embeddings.
        alignment: Maps `sem` into CLIP text space.
        adapter: Computes user tokens and the keys and values of every block. It contains the alignment.
    """

    scorer_part = "prefdisc"
    """Name of the part that scores images."""

    encodes_images_only = False
    """True if user embeddings consist of image embeddings alone, which are not normalised."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        prefdisc: PrefDisc | None = None,
        image_tower: ImageTower | None = None,
        alignment: Alignment | None = None,
        adapter: PreferenceAdapter | None = None,
    ) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        self.prefdisc = prefdisc
        self.image_tower = image_tower
        self.alignment = alignment
        self.adapter = adapter
        self._prefix_cache = PrefixCache()

    @property
    def header(self) -> dict:
        """The checkpoint's header (JSON)."""
        return self.checkpoint.header

    @property
    def fingerprint(self) -> str:
        """The checkpoint's fingerprint. User embeddings store it to refer to their checkpoint."""
        return self.checkpoint.fingerprint

    @cached_property
    def encoder_fingerprint(self) -> str:
        """Fingerprint of what encodes histories: PrefDisc and the image tower.

        User embeddings carry it. It stays the same when another alignment or adapter is trained into the checkpoint, so
        that embeddings stay valid.
        """
        header = {name: self.header.get(name) for name in ("prefdisc", "image_tower")}
        return fingerprint(header, self.checkpoint.part("prefdisc"))

    @property
    def unconditional(self) -> UserParts | None:
        """Embedding that replaced the user's in the unconditional steps of the adapter's training.

        It belongs to the negative prompt. None if there were no user tokens in these steps, as in our training.
        """
        return None

    @property
    def name(self) -> str:
        """The checkpoint's file name."""
        return self.checkpoint.path.name

    @property
    def spec(self) -> PrefDiscSpec:
        """PrefDisc's configuration. Raises CheckpointError if the checkpoint has no PrefDisc."""
        return self.require("prefdisc").spec

    @property
    def scorer(self) -> PrefDisc | TasteScorer:
        """What scores images: PrefDisc, or the taste head. Raises CheckpointError if there is neither."""
        return self.require("prefdisc")

    def encode_history(self, history: UserHistory) -> HistoryPrefix:
        """Encode a history with PrefDisc, or take it from the cache.

        For frozen weights. Training uses `PrefDisc.encode`, which does not cache.

        Raises:
            CheckpointError: The checkpoint has no PrefDisc.
            HistoryError: Not even the newest pair fits into the base model's context.
        """
        prefdisc = self.require("prefdisc")

        def encode() -> HistoryPrefix:
            prefix = prefdisc.encode(history)
            log.info(
                "PrefGen encoded the history of %r: %d pairs, %d tokens.", history.name, len(history), prefix.length
            )
            return prefix

        return self._prefix_cache.get((history.digest, prefdisc.dtype), prefdisc.device, encode)

    def weighted_images(
        self, history: History, image_encoder: Callable[[Tensor], Tensor] | None = None
    ) -> dict[str, Tensor] | None:
        """Return embeddings of liked and disliked images, weighted by a taste head; None if there is none."""
        return None

    def require(self, part: str) -> nn.Module:
        """Return the module of a part.

        Raises:
            CheckpointError: The checkpoint does not have the part, or the part's weights are missing.
        """
        module = getattr(self, part)
        if module is None:
            self.checkpoint.require(part)
            raise CheckpointError(f"{self.name} describes its {part} without weights. Download what it needs.")
        return module


def load_preference_model(
    path: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    base_folders: Sequence[Path] = (),
    base_options: Callable[[BaseLocation], BaseLoadOptions] | None = None,
    download_progress: Progress | None = None,
) -> PreferenceModel:
    """Load a preference checkpoint and its base model.

    Args:
        path: A file, or "pocket" for the bundled checkpoint.
        device: Device of the result.
        dtype: Dtype of PrefDisc's computation. The other parts are small and stay float32.
        base_folders: Folders of base models (see `locate_base`).
        base_options: Chooses how to load the base, instead of `dtype`. It may raise to stop before anything is loaded.
        download_progress: Receives downloaded bytes and the total. Passing it allows downloading a missing base model;
            without it the network is not used.

    Raises:
        CheckpointError: The checkpoint or the base is missing or damaged, or the two are not compatible.
    """
    # Ordinary tensors even in the caller's inference mode, because gradients pass these weights later.
    with torch.inference_mode(False):
        checkpoint = read_checkpoint(shapes.weights_path("preference") if path == POCKET else path)
        model = PreferenceModel(checkpoint)
        problem = f"{model.name} has tensors that do not fit its header"
        with errors_as(CheckpointError, problem, "Download it again.", RuntimeError):  # from load_state_dict
            if checkpoint.has("prefdisc"):
                options = base_options or (lambda _: BaseLoadOptions(dtype))
                model.prefdisc = _load_prefdisc(checkpoint, base_folders, options, download_progress)
            _load_generator_parts(model)
        model = model.to(device).requires_grad_(False).eval()
        restore_int8_scales(model)
        return model


def _load_generator_parts(model: PreferenceModel) -> None:
    """Load image tower, alignment and adapter, if the checkpoint has them."""
    from ..adapter import AdapterConfig, PreferenceAdapter
    from ..adapter.config import upgrade_adapter
    from ..alignment import Alignment, AlignmentConfig

    checkpoint = model.checkpoint
    if checkpoint.header.get("image_tower") == POCKET_BASE:
        from ..embedding.image_tower import load_image_tower

        model.image_tower = load_image_tower(shapes.weights_path("clip_vision"))
    elif checkpoint.has("image_tower"):
        from ..embedding.image_tower import build_image_tower

        model.image_tower = build_image_tower(checkpoint.header["image_tower"])
        state = {name: tensor.float() for name, tensor in checkpoint.part("image_tower").items()}
        model.image_tower.model.load_state_dict(state)
    if checkpoint.has("alignment"):
        problem = f"{model.name} has an alignment configuration that does not fit this version of PrefGen"
        with errors_as(CheckpointError, problem, "Update the pack, or download the file again.", TypeError):
            model.alignment = Alignment(AlignmentConfig(**checkpoint.header["alignment"]))
        model.alignment.load_state_dict(checkpoint.part("alignment"))
    if checkpoint.has("adapter"):
        values, state = upgrade_adapter(checkpoint.header["adapter"], checkpoint.part("adapter"))
        config = AdapterConfig.from_dict(values)
        if (name := first_nonfinite(state.items())) is not None:
            raise CheckpointError(f"{model.name} has NaN or infinity in adapter.{name}. Download the file again.")
        if config.sem_tokens:
            state |= {f"alignment.{name}": tensor for name, tensor in checkpoint.part("alignment").items()}
        model.adapter = PreferenceAdapter(config, model.alignment and model.alignment.config)
        model.adapter.load_state_dict(state)


def _locate_or_download(
    spec: PrefDiscSpec, folders: Sequence[Path], download_progress: Progress | None, name: str
) -> BaseLocation:
    """Find the base model, and download missing files if that is allowed."""
    location = locate_base(spec.base, folders, spec.revision)
    missing = location.missing_files() if location else []
    if location and not missing:
        return location
    if download_progress is not None:
        return BaseLocation(hub.download(spec.base, spec.revision, download_progress), spec.base)
    state = "which is not on this machine"
    if location:
        state = f"whose copy in the Hugging Face cache lacks {len(missing)} files ({missing[0]})"
    raise CheckpointError(
        f"{name} needs the base model {spec.base!r}, {state}. Allow its download, or put it into models/prefgen/base/."
    )


def _load_prefdisc(
    checkpoint: Checkpoint,
    base_folders: Sequence[Path],
    base_options: Callable[[BaseLocation], BaseLoadOptions],
    download_progress: Progress | None,
) -> PrefDisc:
    from ..prefdisc.config import PrefDiscSpec
    from ..prefdisc.lora import LORA_PREFIX, merge_lora
    from ..prefdisc.model import PrefDisc

    name, tensors = checkpoint.path.name, checkpoint.part("prefdisc")
    spec = PrefDiscSpec.from_json(checkpoint.header["prefdisc"])
    if "source" in (training := checkpoint.header.get("training", {}).get("prefdisc", {})) and not spec.whole_text:
        log.warning(
            "%s was converted by an earlier version of PrefGen, whose turns differ from those of %s. Convert it again.",
            name,
            training["source"],
        )
    location = _locate_or_download(spec, base_folders, download_progress, name)
    options = base_options(location)
    base = location.load(options)
    tokens = tensors.get("tokens", torch.empty(0))
    lora = {key.removeprefix(LORA_PREFIX): tensor for key, tensor in tensors.items() if key.startswith(LORA_PREFIX)}
    width = base.model.config.text_config.hidden_size
    requirements = {  # what: (found, expected)
        "Revision": (base.revision or spec.revision, spec.revision),
        "Shape of the preference tokens": (tuple(tokens.shape), (spec.num_tokens, width)),
        "LoRA among the tensors": (bool(lora), bool(spec.lora)),
    }
    for what, (found, expected) in requirements.items():
        if found != expected:
            problem = f"{name} does not fit the base model {spec.base!r} or its own header. {what}: found {found}"
            raise CheckpointError(f"{problem}; expected {expected}. Use files of the same release.")
    model = merge_lora(base.model, spec.lora, lora, name) if spec.lora else base.model
    # A quantised base is not on the CPU.
    return PrefDisc(model, base.tokenizer, spec, tokens.to(model.device, options.dtype))

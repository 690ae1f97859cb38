"""The loaded preference model: what a checkpoint and its base model make together."""

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
from ..prefdisc.base.locate import POCKET_BASE, BasePlace, BaseReading, locate_base
from ..prefdisc.base.quantization import settle
from ..prefdisc.prefix_cache import KeptPrefixes
from ..safefile import fingerprint
from ..validation import first_nonfinite
from .file import Checkpoint, read_checkpoint

if TYPE_CHECKING:
    from ..adapter import PreferenceAdapter, UserParts
    from ..alignment import Alignment
    from ..embedding.image_tower import ImageTower
    from ..history import UserHistory
    from ..prefdisc.base.huggingface import Progress
    from ..prefdisc.config import PrefDiscSpec
    from ..prefdisc.model import PrefDisc
    from ..prefdisc.prefix import HistoryPrefix

POCKET = "pocket"

log = logging.getLogger(__name__)


class PreferenceModel(nn.Module):
    """One preference checkpoint, ready to use. A part that the file does not have is None.

    checkpoint: the file. prefdisc: scores images. image_tower: the `img` part of user embeddings. alignment: takes
    `sem` into CLIP text space. adapter: user tokens and the user K/V of every block, with the alignment inside.
    """

    encodes_images_only = False
    """Whether user embeddings consist of image embeddings alone, which are not normalised."""

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
        self._kept = KeptPrefixes()

    @property
    def header(self) -> dict:
        """The checkpoint's header (JSON)."""
        return self.checkpoint.header

    @property
    def fingerprint(self) -> str:
        """The checkpoint's fingerprint; a user embedding carries that of the checkpoint that made it."""
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
        """How PrefDisc reads. Raises CheckpointError where the checkpoint has no PrefDisc."""
        return self.require("prefdisc").spec

    def read(self, history: UserHistory) -> HistoryPrefix:
        """What PrefDisc keeps of a history: read once, then kept by its digest (see prefdisc/kept.py). For frozen
        weights; in a training, `PrefDisc.encode`. Raises CheckpointError where the checkpoint has no PrefDisc, and
        HistoryError where not one pair fits into the base's context."""
        prefdisc = self.require("prefdisc")

        def encode() -> HistoryPrefix:
            prefix = prefdisc.encode(history)
            log.info("PrefGen read the history of %r: %d pairs, %d tokens.", history.name, len(history), prefix.length)
            return prefix

        return self._kept.get((history.digest, prefdisc.dtype), prefdisc.device, encode)

    def require(self, part: str) -> nn.Module:
        """The module of a part. Raises CheckpointError naming the file and the part it lacks."""
        module = getattr(self, part)
        if module is None:
            self.checkpoint.require(part)
            raise CheckpointError(
                f"{self.name} describes its {part}, but its weights are not here: install what the checkpoint needs."
            )
        return module


def load_preference_model(
    path: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    bases: Sequence[Path] = (),
    reading: Callable[[BasePlace], BaseReading] | None = None,
    download: Progress | None = None,
) -> PreferenceModel:
    """Load a preference checkpoint and the base model it names.

    path: a file, or "pocket" for the bundled one. device: where all of it goes in the end. dtype: what PrefDisc
    computes in; the other parts, which are small, stay float32. bases: folders that hold base models (see
    `locate_base`). reading: decides by the base's size how it is read, in place of `dtype`; what it raises ends the
    loading before anything large is read. download: allows to download a base that is not here, or the rest of one that
    is in the Hugging Face cache in part, and is told of bytes; without it no network is touched.

    Raises CheckpointError: see `read_checkpoint`; and for a base that is not here, is of another revision, or does not
    fit.
    """
    # Ordinary tensors even where the caller runs in inference mode: gradients go through these weights later.
    with torch.inference_mode(False):
        checkpoint = read_checkpoint(shapes.weights_path("preference") if path == POCKET else path)
        try:
            model = _assemble(checkpoint, bases, reading or (lambda _: BaseReading(dtype)), download)
        except RuntimeError as error:
            # What load_state_dict raises: a title, then a line for every key.
            detail = " ".join(str(error).split()[:40])
            raise CheckpointError(
                f"{checkpoint.path.name} has tensors that do not fit its header ({detail}): get the file again."
            ) from error
        model = model.to(device).requires_grad_(False).eval()
        settle(model)
        return model


def _assemble(
    checkpoint: Checkpoint,
    bases: Sequence[Path],
    reading: Callable[[BasePlace], BaseReading],
    download: Progress | None,
) -> PreferenceModel:
    from ..adapter import AdapterConfig, PreferenceAdapter
    from ..adapter.config import upgrade_adapter
    from ..alignment import Alignment, AlignmentConfig

    model = PreferenceModel(checkpoint)
    if checkpoint.has("prefdisc"):
        model.prefdisc = _prefdisc(checkpoint, bases, reading, download)
    if checkpoint.header.get("image_tower") == POCKET_BASE:
        from ..embedding.image_tower import load_image_tower

        model.image_tower = load_image_tower(shapes.weights_path("clip_vision"))
    aligned = checkpoint.has("alignment")
    if aligned:
        try:
            model.alignment = Alignment(AlignmentConfig(**checkpoint.header["alignment"]))
        except TypeError as error:
            raise CheckpointError(
                f"{model.name} has a description of its alignment that does not fit ({error}): it comes from another "
                "version of the pack, update the pack; or get the file again."
            ) from error
        model.alignment.load_state_dict(checkpoint.part("alignment"))
    if checkpoint.has("adapter"):
        values, state = upgrade_adapter(checkpoint.header["adapter"], checkpoint.part("adapter"))
        config = AdapterConfig.from_dict(values)
        if config.sem_tokens and not aligned:
            checkpoint.require("alignment")
        model.adapter = PreferenceAdapter(config, model.alignment.config if aligned else None)
        if (name := first_nonfinite(state.items())) is not None:
            raise CheckpointError(f"{model.name} has NaN or infinity in adapter.{name}. Download the file again.")
        if config.sem_tokens:
            state |= {f"alignment.{name}": tensor for name, tensor in checkpoint.part("alignment").items()}
        model.adapter.load_state_dict(state)
    return model


def _place(spec: PrefDiscSpec, bases: Sequence[Path], download: Progress | None, name: str) -> BasePlace:
    """Where the base is; downloaded, or the rest of it, where that is allowed."""
    place = locate_base(spec.base, bases, spec.revision)
    lacking = place.lacks() if place else []
    if place and not lacking:
        return place
    if download is not None:
        return BasePlace(hub.download(spec.base, spec.revision, download), spec.base)
    if place:
        raise CheckpointError(
            f"{name} was made for the base model {spec.base!r}, whose copy in the Hugging Face cache ({place.path}) is "
            f"incomplete: it lacks {len(lacking)} files (the first is {lacking[0]}). Allow its download, which goes on "
            "where it stopped, or put that base model into models/prefgen/base/."
        )
    raise CheckpointError(
        f"{name} was made for the base model {spec.base!r}, which is not here (bundled: {POCKET_BASE!r}): "
        "put that base model into models/prefgen/base/, allow its download, or choose another checkpoint."
    )


def _prefdisc(
    checkpoint: Checkpoint,
    bases: Sequence[Path],
    reading: Callable[[BasePlace], BaseReading],
    download: Progress | None,
) -> PrefDisc:
    from ..prefdisc.config import PrefDiscSpec
    from ..prefdisc.lora import PREFIX, merge_lora
    from ..prefdisc.model import PrefDisc

    name, tensors = checkpoint.path.name, checkpoint.part("prefdisc")
    spec = PrefDiscSpec.from_json(checkpoint.header["prefdisc"])
    place = _place(spec, bases, download, name)
    how = reading(place)
    base = place.load(how)
    if base.revision not in ("", spec.revision):
        raise CheckpointError(
            f"{name} was made for revision {spec.revision!r} of the base model {spec.base!r}, found {base.revision!r}: "
            "use the checkpoint and the base model of the same release."
        )
    tokens = tensors.get("tokens")
    width = base.model.config.text_config.hidden_size
    if tokens is None or tuple(tokens.shape) != (spec.num_tokens, width):
        raise CheckpointError(
            f"{name} has preference tokens of shape {None if tokens is None else tuple(tokens.shape)}, "
            f"expected {(spec.num_tokens, width)} for the base model {spec.base}: it was made for another base."
        )
    lora = {key.removeprefix(PREFIX): tensor for key, tensor in tensors.items() if key.startswith(PREFIX)}
    if bool(lora) != bool(spec.lora):
        raise CheckpointError(
            f"{name} has {len(lora)} tensors of a LoRA and a header that {'describes' if spec.lora else 'knows of'} "
            f"{'one' if spec.lora else 'none'}, expected both or neither: the file is damaged, get it again."
        )
    model = merge_lora(base.model, spec.lora, lora, name) if spec.lora else base.model
    # Ends where the base is, which after quantising is not the CPU.
    return PrefDisc(model, base.tokenizer, spec, tokens.to(model.device, how.dtype))

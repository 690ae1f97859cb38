"""The pocket CLIP as the eye of FID, CMMD, CLIP-Img, CLIP-Text and style: none of them is the published network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from prefgen.embedding.image_tower import load_image_tower
from prefgen.errors import ModelError
from prefgen.pocket.shapes import weights_path
from train.pocket.clip import encode_text

BATCH = 64


class PocketEyes:
    """Features of images. CLIP embeddings have length one; a style is what patches are like, wherever they are.

    drawn: uint8 (..., 3, H, W), posters whose styles' mean and deviation are the zero and the unit of every style:
    without that, all of them point one way.
    """

    def __init__(self, drawn: Tensor) -> None:
        self._tower = load_image_tower(weights_path("clip_vision"))
        config = self._tower.model.config
        self.layers = (1, (config.num_hidden_layers + 1) // 2)
        """The hidden states that styles are of: after the first layer and after the middle one."""
        self._drawn = drawn

    def embed(self, images: Tensor) -> np.ndarray:
        """uint8 or [0, 1] images (..., 3, H, W) -> CLIP embeddings (..., D)."""
        return self._see(images)[0]

    def look(self, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The same -> CLIP embeddings (..., D) and styles (..., 4 hidden).

        A style is, over the patches of two layers, the mean and deviation of every channel, in standard deviations of
        drawn posters: in place of what CSD learns from artists, what style transfer keeps (Huang & Belongie 2017).
        """
        (embedded, styles), (mean, deviation) = self._see(images), self._scale
        return embedded, (styles - mean) / deviation

    def text(self, prompts: Sequence[str]) -> np.ndarray:
        """CLIP embeddings of prompts, of length one: (n, D)."""
        with torch.no_grad():
            return torch.nn.functional.normalize(encode_text(list(prompts)), dim=-1).numpy()

    @cached_property
    def _scale(self) -> tuple[np.ndarray, np.ndarray]:
        styles = self._see(self._drawn)[1].reshape(-1, 4 * self._tower.model.config.hidden_size)
        return styles.mean(0), styles.std(0) + 1e-6

    @torch.no_grad()
    def _see(self, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
        flat, seen, styles = images.reshape(-1, *images.shape[-3:]), [], []
        for batch in flat.split(BATCH):
            batch = batch.float() / 255 if batch.dtype == torch.uint8 else batch
            out = self._tower.model(batch * 2 - 1, output_hidden_states=True)
            patches = [out.hidden_states[layer][:, 1:] for layer in self.layers]  # without the class token
            seen.append(torch.nn.functional.normalize(out.image_embeds, dim=-1))
            styles.append(torch.cat([part for x in patches for part in (x.mean(1), x.std(1))], dim=-1))
        shape = images.shape[:-3]
        return tuple(torch.cat(found).reshape(*shape, -1).numpy() for found in (seen, styles))


class PublishedEyes:
    """CLIP ViT-L/14 (or what else lies there) from a person's own folder, in Hugging Face's layout: CMMD's network.

    Raises ModelError where `folder` is no such model, or lacks some of its weights: no figure comes from random ones.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

        options = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
        try:
            model, about = CLIPVisionModelWithProjection.from_pretrained(folder, **options)
            self._processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{folder} is no CLIP in Hugging Face's layout ({error}), expected config.json, model.safetensors and "
                "preprocessor_config.json: name another folder in --networks, or none."
            ) from error
        if missing := about["missing_keys"]:
            raise ModelError(f"{folder} lacks {len(missing)} of a CLIP image tower's tensors: get the files again.")
        self._model = model.eval()

    @torch.no_grad()
    def embed(self, images: Tensor) -> np.ndarray:
        """uint8 images (..., 3, H, W) -> embeddings of length one (..., D)."""
        flat, found = images.reshape(-1, *images.shape[-3:]), []
        for batch in flat.split(BATCH):
            pixels = self._processor(images=list(batch), return_tensors="pt")["pixel_values"]
            found.append(torch.nn.functional.normalize(self._model(pixels).image_embeds, dim=-1))
        return torch.cat(found).reshape(*images.shape[:-3], -1).numpy()

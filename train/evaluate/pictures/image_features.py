"""Image and text features for FID, CMMD, CLIP-Img, CLIP-Text and style, from the pocket CLIP or a published CLIP."""

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


class PocketFeatures:
    """CLIP embeddings and style features of the pocket model.

    CLIP embeddings are normalised. Style features are statistics of patch features, independent of their position.

    Args:
        posters: uint8 (..., 3, H, W). Style features are standardised to these posters' mean and standard deviation;
            without that, all style vectors are nearly parallel.
    """

    def __init__(self, posters: Tensor) -> None:
        self._tower = load_image_tower(weights_path("clip_vision"))
        config = self._tower.model.config
        self.layers = (1, (config.num_hidden_layers + 1) // 2)
        """Layers whose hidden states give style features: the first and the middle one."""
        self._posters = posters

    def embed(self, images: Tensor) -> np.ndarray:
        """Compute CLIP embeddings (..., D) of images (..., 3, H, W), uint8 or in [0, 1]."""
        return self._features(images)[0]

    def embed_with_style(self, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Compute CLIP embeddings (..., D) and style features (..., 4 * hidden) of images.

        Style features are the mean and standard deviation of every channel over the patches of two layers, as in style
        transfer (Huang & Belongie 2017). They stand in for CSD, which is trained on artists.
        """
        (embeddings, styles), (mean, deviation) = self._features(images), self._style_scale
        return embeddings, (styles - mean) / deviation

    def embed_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Compute normalised CLIP embeddings of prompts: (n, D)."""
        with torch.no_grad():
            return torch.nn.functional.normalize(encode_text(list(prompts)), dim=-1).numpy()

    @cached_property
    def _style_scale(self) -> tuple[np.ndarray, np.ndarray]:
        styles = self._features(self._posters)[1].reshape(-1, 4 * self._tower.model.config.hidden_size)
        return styles.mean(0), styles.std(0) + 1e-6

    @torch.no_grad()
    def _features(self, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
        flat, embeddings, styles = images.reshape(-1, *images.shape[-3:]), [], []
        for batch in flat.split(BATCH):
            batch = batch.float() / 255 if batch.dtype == torch.uint8 else batch
            out = self._tower.model(batch * 2 - 1, output_hidden_states=True)
            patches = [out.hidden_states[layer][:, 1:] for layer in self.layers]  # without the class token
            embeddings.append(torch.nn.functional.normalize(out.image_embeds, dim=-1))
            styles.append(torch.cat([part for x in patches for part in (x.mean(1), x.std(1))], dim=-1))
        shape = images.shape[:-3]
        return tuple(torch.cat(parts).reshape(*shape, -1).numpy() for parts in (embeddings, styles))


class PublishedClip:
    """A published CLIP image tower from a local folder in Hugging Face layout. CMMD uses ViT-L/14.

    Raises:
        ModelError: The folder has no such model, or weights are missing.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

        options = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
        try:
            model, loading_info = CLIPVisionModelWithProjection.from_pretrained(folder, **options)
            self._processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{folder} has no CLIP in Hugging Face layout ({error}); expected config.json, model.safetensors and "
                "preprocessor_config.json. Choose another folder for --networks, or leave the option out."
            ) from error
        if missing := loading_info["missing_keys"]:
            raise ModelError(f"{folder} lacks {len(missing)} tensors of a CLIP image tower. Download the files again.")
        self._model = model.eval()

    @torch.no_grad()
    def embed(self, images: Tensor) -> np.ndarray:
        """Compute normalised embeddings (..., D) of uint8 images (..., 3, H, W)."""
        flat, embeddings = images.reshape(-1, *images.shape[-3:]), []
        for batch in flat.split(BATCH):
            pixels = self._processor(images=list(batch), return_tensors="pt")["pixel_values"]
            embeddings.append(torch.nn.functional.normalize(self._model(pixels).image_embeds, dim=-1))
        return torch.cat(embeddings).reshape(*images.shape[:-3], -1).numpy()

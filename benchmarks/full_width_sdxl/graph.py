"""The full-width graph (plain SDXL, SDXL with an IP-Adapter for a user, and optimised noise) and its random files."""

import json
from pathlib import Path

import torch

from prefgen.embedding import UserEmbedding, save_embedding
from prefgen.pocket.shapes import SDXL_UNET
from scripts.compare_revisions.cases import Case
from tests.comfyui import Graph
from tests.prefgen import ip_adapters

IP_ADAPTER, EMBEDDING = "full_width.safetensors", "full width.safetensors"
IMAGE_WIDTH = 1024
"""Width of ViT-H's image embeddings."""
SIZE = 512


def full_width_case() -> Case:
    """Return the graph. It uses the pocket VAE, which is compatible with SDXL's latents, and the pocket PrefDisc."""
    graph = Graph()
    config = json.dumps(SDXL_UNET.ldm_config())
    model, positive, negative = (graph.add("FullWidthSDXL", unet_config=config)[output] for output in range(3))
    vae = graph.add("LoadPocketGenerator")[2]
    latent = graph.add("EmptyLatentImage", width=SIZE, height=SIZE, batch_size=1)
    prompts = {"positive": positive, "negative": negative}
    user = graph.add("LoadUserEmbedding", file=EMBEDDING)
    adapter = graph.add("PreferenceModelFromIPAdapter", file=IP_ADAPTER)
    strengths = dict.fromkeys(("strength", "sem_strength", "core_strength", "img_strength"), 1.0)
    personalised = graph.add(
        "ApplyPreferenceAdapter",
        **{"model": model, "preference_model": adapter, "embedding": user, **strengths},
        **{"start_percent": 0.0, "end_percent": 1.0},
    )
    for chosen in (model, personalised):
        samples = graph.add(
            "KSampler",
            **{"model": chosen, **prompts, "latent_image": latent, "seed": 1, "steps": 2, "cfg": 2.0},
            **{"sampler_name": "euler", "scheduler": "normal", "denoise": 1.0},
        )
        graph.add("ProbeSave", value=graph.add("VAEDecode", samples=samples, vae=vae))
    optimised = graph.add(
        "ReNOOptimize",
        **{"model": personalised, "vae": vae, "positive": positive, "latent": latent, "prompt": ""},
        **{"preference_model": graph.add("LoadPreferenceModel", checkpoint="pocket")},
        **{"history": graph.add("LoadUserHistory", user="ada"), "seed": 1, "iterations": 2, "learning_rate": 5.0},
        **{"steps": 1, "cfg": 1.0, "checkpointing": True},
    )
    graph.add("ProbeSave", value=optimised[0])
    return Case("SDXL at full width", graph.api())


def write_full_width_files(base: Path) -> None:
    """Write an IP-Adapter and an embedding with random values into a server's folders."""
    ip_adapters.write(base / "models" / "ipadapter" / IP_ADAPTER, SDXL_UNET, IMAGE_WIDTH)
    embeddings = base / "user" / "prefgen" / "embeddings"
    embeddings.mkdir(parents=True, exist_ok=True)
    image = torch.randn(IMAGE_WIDTH, generator=torch.Generator().manual_seed(0))
    fingerprint = f"CLIP image embeddings {IMAGE_WIDTH} wide"
    save_embedding(embeddings / EMBEDDING, UserEmbedding(None, None, image, fingerprint, "full width"))

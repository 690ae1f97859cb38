"""Published preference models in small: their files' layouts and key names, random weights, and their own procedure."""

from __future__ import annotations

import copy
import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from torch import nn

from prefgen.checkpoint.convert.layouts import Layout
from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.history import PreferencePair, UserHistory
from prefgen.images import read_image
from prefgen.prefdisc.base.base_model import build_base
from tests.prefgen import tiny

ID = "HuggingFaceM4/idefics2-8b"
TARGETS = (
    ".*(text_model|modality_projection|perceiver_resampler).*"
    "(down_proj|gate_proj|up_proj|k_proj|q_proj|v_proj|o_proj).*$"
)
SPECIAL = ["[UNK]", "<s>", "<image>", "<fake_token_around_image>", "<end_of_utterance>"]
WORDS = ["User", "Assistant", ":", "?", "'", "+", "-", "The", "prompt", "is", "Score", "for", "this", "image"]
WORDS += ["a", "red", "cat", "house", "on", "the", "dog"]
TOKENS = 5
IMAGE = "<fake_token_around_image><image><image><fake_token_around_image>"


def tokenizer() -> Tokenizer:
    words = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens([AddedToken(word, normalized=False, special=True) for word in SPECIAL])
    return made


def small(layout: Layout) -> Layout:
    """The layout at the tiny base's sizes; its words and order stay."""
    layout = replace(layout, training_size=layout.training_size and 20)
    sizes = {"image": IMAGE, "longest_edge": 24, "shortest_edge": 6, "sem_layers": (3, 4), "core_layers": (1, 2)}
    return replace(layout, spec=replace(layout.spec, **sizes))


def base(config: dict | None = None):
    """An Idefics2 with random weights large enough that everything matters."""
    if config is None:
        config = copy.deepcopy(tiny.CONFIG) | {"image_token_id": SPECIAL.index("<image>")}
        config["text_config"]["vocab_size"] = len(SPECIAL) + len(WORDS)
    torch.manual_seed(0)
    model = build_base(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
    return model.eval()


def write_base(folder: Path) -> Path:
    """A Hugging Face folder, as the base is downloaded."""
    base().save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def write_lora(folder: Path, config: dict | None = None, **options) -> Path:
    """What peft saves of a LoRA: adapter_config.json and adapter_model.safetensors."""
    from peft import LoraConfig, get_peft_model

    wanted = {"r": 8, "lora_alpha": 8, "lora_dropout": 0.1, "target_modules": TARGETS, "init_lora_weights": "gaussian"}
    wrapped = get_peft_model(base(config), LoraConfig(**wanted | options))
    torch.manual_seed(1)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:  # which begins at zero
            parameter.data.normal_(std=0.3)
    wrapped.save_pretrained(folder)
    return folder


class PromptPool(nn.Module):
    """Stands for the authors' class; their training pickles it whole."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.length, self.embed_dim, self.embedding_key, self.pool_size = tokens, width, "mean", None
        self.register_parameter("prompt", nn.Parameter(torch.rand(tokens, width, generator=generator(2)) * 6))
        self.prompt_key = self.prompt.detach().mean(1)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def write_pool(path: Path, width: int = tiny.WIDTH) -> torch.Tensor:
    """A pool pickled as the authors' module and class, which only the writing process knows; returns its tokens."""
    module = types.ModuleType("prompt_pool")
    published = type("PromptPool", (PromptPool,), {"__module__": "prompt_pool", "__qualname__": "PromptPool"})
    module.PromptPool = published
    sys.modules["prompt_pool"] = module
    try:
        pool = published(TOKENS, width)
        torch.save(pool, path)
    finally:
        del sys.modules["prompt_pool"]
    return pool.prompt.detach()


def write_images(folder: Path, count: int, seed: int = 3) -> list[Path]:
    """Noise of 24 by 24 pixels, 8 bits."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 24, 24, 3), dtype=np.uint8)
    paths = [folder / f"{i}.png" for i in range(count)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    return paths


def turn(prompt: str | None, answer: str) -> str:
    said = "" if prompt is None else f"The prompt is '{prompt}' "
    return f"User:{IMAGE}{said}Score for this image?<end_of_utterance>\nAssistant:{answer}"


@torch.no_grad()
def published_scores(lora: Path, pool: torch.Tensor | None, pairs, candidates, prompts) -> list[float]:
    """The published procedure: peft's wrappers over the base, transformers' own image processor and forward, one whole
    sequence for every candidate (disliked, liked, ..., candidate), the pool before all of it, attention on everything,
    and a softmax over two logits of the vocabulary at the last position. The candidate's turn ends as in the authors'
    training.

    pairs: (liked, disliked, prompt or None).
    """
    from peft import PeftModel
    from transformers import Idefics2ImageProcessor

    model = PeftModel.from_pretrained(base(), lora).eval()
    inner = model.base_model.model
    if pool is not None:
        inner.model.text_model.register_forward_pre_hook(lambda _, a, k: (a, _pooled(k, pool)), with_kwargs=True)
    read = Idefics2ImageProcessor(size={"longest_edge": 24, "shortest_edge": 6}, do_image_splitting=False)
    words = tokenizer()
    like, dislike = words.token_to_id("+"), words.token_to_id("-")
    scores = []
    for candidate, prompt in zip(candidates, prompts, strict=True):
        text, images = "<s>", []
        for liked, disliked, said in pairs:
            text += turn(said, " -<end_of_utterance>\n") + turn(said, " +<end_of_utterance>\n")
            images += [disliked, liked]
        text += turn(prompt, "")
        ids = torch.tensor([words.encode(text, add_special_tokens=False).ids])
        pixels = read([[Image.open(path).convert("RGB") for path in [*images, candidate]]], return_tensors="pt")
        out = inner(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **pixels)
        last = out.logits[0, -1]
        scores.append((last[like].exp() / (last[like].exp() + last[dislike].exp())).item())
    return scores


def _pooled(options: dict, pool: torch.Tensor) -> dict:
    embedded = torch.cat([pool[None], options["inputs_embeds"]], dim=1)
    return options | {"inputs_embeds": embedded, "attention_mask": torch.ones(embedded.shape[:2]), "position_ids": None}


def scores(there, checkpoint, pairs, candidates, prompts):
    """The scores of a converted checkpoint, with the base below `there`."""
    model = load_preference_model(checkpoint, base_folders=[there / "bases"])
    shown = (PreferencePair(read_image(a), read_image(b), prompt or "") for a, b, prompt in pairs)
    prefix = model.encode_history(UserHistory(tuple(shown)))
    images = torch.stack([read_image(path) for path in candidates])
    return model.prefdisc.score(prefix, images, prompts)


def material(there, prompts):
    """Two pairs and three candidates of the images below `there`."""
    files = [there / "images" / f"{i}.png" for i in range(7)]
    return [(files[0], files[1], prompts[0]), (files[2], files[3], prompts[1])], files[4:]


def rewrite(folder, **changes):
    """Change values of a LoRA's adapter_config.json."""
    config = json.loads((folder / "adapter_config.json").read_text()) | changes
    (folder / "adapter_config.json").write_text(json.dumps(config))

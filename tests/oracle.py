"""Compares converted checkpoints with the procedures of their authors, on a tiny Idefics2 with the real vocabulary.

The procedures of learn-user-pref and ViPer are written anew from their description, one function for each step: the
chat as one text, images through Pillow, one forward pass of transformers' Idefics2 over the whole sequence.

python -m tests.oracle     prints {"ids_equal": ..., "max_abs_diff": ..., "cases": ...}
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from prefgen.checkpoint.convert.layouts import LATENTS, LAYOUTS, PROCEDURES
from prefgen.checkpoint.convert.published import convert_published
from prefgen.checkpoint.preference_model import PreferenceModel, load_preference_model
from prefgen.history import PreferencePair, UserHistory
from prefgen.images import read_image
from tests.prefgen import mistral, tiny
from tests.prefgen.checkpoint.convert import published
from tests.prefgen.prefdisc.published_ids import HISTORY, TARGET, published_ids

SIZES = ((1024, 1024), (768, 512), (512, 910), (256, 256))
PROMPTS = (
    "The prompt's castle, 4k +detail",
    "a woman's portrait, oil on canvas, she said 'yes'",
    "雨の夜の街、ネオン",
    "кот в шляпе, Ærø façade 🙂",
)
IMAGE_TOKENS = "<fake_token_around_image>" + "<image>" * LATENTS + "<fake_token_around_image>"

CONFIG = tiny.CONFIG | {
    "image_token_id": 32001,
    "vision_config": tiny.CONFIG["vision_config"] | {"image_size": 980, "patch_size": 14},
    "perceiver_config": tiny.CONFIG["perceiver_config"] | {"resampler_n_latents": LATENTS},
    "text_config": tiny.CONFIG["text_config"] | {"vocab_size": 32003},
}
"""The tiny base with Idefics2-8B's vocabulary, patches and image tokens."""


@dataclass(frozen=True)
class Case:
    """One score: a checkpoint and a procedure, a history of two pairs or none, and a candidate.

    Attributes:
        checkpoint: Name of the published model.
        procedure: One of PROCEDURES.
        history: Files (liked, disliked) and prompt of each pair.
        candidate: File of the image to score.
        prompt: Its prompt.
    """

    checkpoint: str
    procedure: str
    history: tuple[tuple[Path, Path, str], ...]
    candidate: Path
    prompt: str


def chat(case: Case) -> str:
    """Write the whole chat as one text: disliked and liked image of each pair, then the open turn."""
    turns = [(prompt, answer) for *_, prompt in case.history for answer in (" -", " +")]
    text = "".join(f"{_question(case, prompt)}{answer}<end_of_utterance>\n" for prompt, answer in turns)
    return text + _question(case, case.prompt) + (" " if case.procedure == "scoring" else "")


def _question(case: Case, prompt: str) -> str:
    said = f"The prompt is '{prompt}' " if case.checkpoint == "learn-user-pref" else ""
    return f"User:{IMAGE_TOKENS}{said}Score for this image?<end_of_utterance>\nAssistant:"


def pixels_of(case: Case) -> tuple[Tensor, Tensor]:
    """Read the images in the order of the chat: pixels (1, n, 3, H, W) padded with 0, and their mask (1, n, H, W)."""
    files = [file for liked, disliked, _ in case.history for file in (disliked, liked)] + [case.candidate]
    images = [Image.open(file).convert("RGB") for file in files]
    if case.checkpoint == "learn-user-pref" and case.procedure == "training":
        images = [image.resize((512, 512)) for image in images]
    images = [image.resize(_processor_size(*image.size), Image.BILINEAR) for image in images]
    width, height = (max(image.size[axis] for image in images) for axis in (0, 1))
    pixels, mask = torch.zeros(1, len(images), 3, height, width), torch.zeros(1, len(images), height, width).bool()
    for i, image in enumerate(images):
        values = (np.asarray(image).astype(np.float32) / 255 - 0.5) / 0.5
        pixels[0, i, :, : image.height, : image.width] = torch.from_numpy(values).movedim(-1, 0)
        mask[0, i, : image.height, : image.width] = True
    return pixels, mask


def _processor_size(width: int, height: int, longest: int = 448, shortest: int = 378) -> tuple[int, int]:
    if width >= height and width > longest:
        width, height = longest, int(longest / (width / height))
    elif height > width and height > longest:
        width, height = int(longest * (width / height)), longest
    return max(width, shortest), max(height, shortest)


@torch.no_grad()
def authors_logits(case: Case, model: PeftModel, tokenizer: Tokenizer, pool: Tensor | None) -> tuple[list[int], Tensor]:
    """Return the token ids, and the logits (M+, M-) of the tokens `▁+` (648) and `▁-` (387) at the last position."""
    ids = [1, *tokenizer.encode(chat(case), add_special_tokens=False).ids]
    pixels, mask = pixels_of(case)
    inner = model.base_model.model
    hook = None
    if pool is not None:

        def prepend(_module, arguments: tuple, options: dict) -> tuple[tuple, dict]:
            embedded = torch.cat([pool[None], options["inputs_embeds"]], dim=1)
            changes = {"inputs_embeds": embedded, "attention_mask": torch.ones(embedded.shape[:2])}
            return arguments, options | changes | {"position_ids": None}

        hook = inner.model.text_model.register_forward_pre_hook(prepend, with_kwargs=True)
    try:
        input_ids = torch.tensor([ids])
        images = {"pixel_values": pixels, "pixel_attention_mask": mask}
        logits = inner(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), use_cache=False, **images).logits
    finally:
        if hook:
            hook.remove()
    return ids, logits[0, -1, [648, 387]]


@torch.no_grad()
def our_logits(case: Case, model: PreferenceModel) -> tuple[list[int], Tensor]:
    """Return our token ids and logits, from the encoded history and the candidate's own tokens."""
    pairs = [PreferencePair(read_image(liked), read_image(disliked), text) for liked, disliked, text in case.history]
    prefix = model.encode_history(UserHistory(tuple(pairs))) if pairs else None
    template, candidate = model.prefdisc.template, read_image(case.candidate)
    turns = [(prompt, liked) for *_, prompt in case.history for liked in (False, True)]
    ids = [*template.opening_ids]
    for place, (prompt, liked) in enumerate(turns):
        ids += template.labelled_turn(prompt, liked, first=not place)
    ids += template.unlabelled_turn(case.prompt, first=not turns)
    return ids, model.prefdisc.logits(prefix, candidate[None], case.prompt)[0]


def write_models(folder: Path) -> None:
    """Write the tiny base, a LoRA, a pool of tokens, images, and a converted checkpoint of every kind."""
    published.base(CONFIG).save_pretrained(folder / "bases" / "idefics2-8b")
    mistral.tokenizer().save(str(folder / "bases" / "idefics2-8b" / "tokenizer.json"))
    published.write_lora(folder / "lora", CONFIG)
    published.write_pool(folder / "lora" / "prompt_pool.pt")
    layers = {"sem_layers": (3, 4), "core_layers": (1, 2)}
    for name, layout in LAYOUTS.items():
        small = replace(layout, spec=replace(layout.spec, **layers))
        for procedure in PROCEDURES:
            convert_published(small, folder / "lora", checkpoint(folder, name, procedure), procedure=procedure)
    random = np.random.default_rng(0)
    for number, size in enumerate(SIZES * 2):
        coarse = Image.fromarray(random.integers(0, 256, (9, 7, 3), dtype=np.uint8)).resize(size, Image.BICUBIC)
        noise = random.integers(-30, 30, (size[1], size[0], 3))
        pixels = np.clip(np.asarray(coarse).astype(int) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def checkpoint(folder: Path, name: str, procedure: str) -> Path:
    """Return the file of a converted checkpoint."""
    return folder / f"{name}-{procedure}.safetensors"


def cases(folder: Path, name: str, procedure: str) -> list[Case]:
    """Return the cases of a checkpoint: candidates of every size with two prompts and histories, and one without."""
    images = [folder / f"{number}.png" for number in range(len(SIZES) * 2)]
    alone = Case(name, procedure, (), images[1], PROMPTS[0])
    return [
        alone,
        *(Case(name, procedure, _history(images, i), images[(i + 4) % 8], PROMPTS[(i + 1) % 4]) for i in range(8)),
    ]


def _history(images: list[Path], i: int) -> tuple[tuple[Path, Path, str], ...]:
    first = (images[i], images[(i + 1) % 8], PROMPTS[i % 4])
    return first, (images[(i + 3) % 8], images[(i + 6) % 8], "a red cat")


def matches_published_ids() -> bool:
    """Return whether our ids are those that the authors' code produced, with both normalisers."""
    from prefgen.prefdisc.template import ChatTemplate

    equal = True
    for normalizer in mistral.NORMALIZERS:
        for (name, procedure), expected in published_ids(normalizer).items():
            template = ChatTemplate(LAYOUTS[name].spec_of(procedure), mistral.tokenizer(normalizer))
            ids = list(template.opening_ids)
            for place, (prompt, liked) in enumerate((prompt, liked) for prompt in HISTORY for liked in (False, True)):
                ids += template.labelled_turn(prompt, liked, first=not place)
            equal &= [*ids, *template.unlabelled_turn(TARGET)] == expected
            equal &= template.label_ids == (648, 387)
    return equal


def compare(folder: Path) -> dict[str, bool | float | int]:
    """Compare all cases."""
    write_models(folder)
    tokenizer = mistral.tokenizer()
    peft = PeftModel.from_pretrained(published.base(CONFIG), folder / "lora").eval()
    equal, differences = matches_published_ids(), []
    for name in LAYOUTS:
        for procedure in PROCEDURES:
            model = load_preference_model(checkpoint(folder, name, procedure), base_folders=[folder / "bases"])
            pool = model.prefdisc.tokens.detach() if LAYOUTS[name].has_tokens else None
            for case in cases(folder, name, procedure):
                ids, logits = authors_logits(case, peft, tokenizer, pool)
                our_ids, ours = our_logits(case, model)
                equal &= ids == our_ids
                differences.append((logits - ours).abs().max().item())
    return {"ids_equal": equal, "max_abs_diff": max(differences), "cases": len(differences)}


def main() -> int:
    """Print the comparison as one JSON line."""
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps(compare(Path(folder))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

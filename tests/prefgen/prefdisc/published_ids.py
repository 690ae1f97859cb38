"""Token ids that the code of learn-user-pref and ViPer produces: transformers 4.44's Idefics2Processor, Mistral v1.

The history has two pairs, each read disliked image first.
"""

from __future__ import annotations

HISTORY = ("a red cat", "The prompt's castle, 4k +detail")
TARGET = "a dog"

_IMAGE = [32000, *[32001] * 64, 32000]
_END = 32002
_WORDS = {
    "a red cat": [28708, 2760, 5255],
    "The prompt's castle, 4k +detail": [1014, 11510, 28742, 28713, 19007, 28725, 28705, 28781, 28729, 648, 16017],
    "a dog": [28708, 3914],
}


def published_ids(normalizer: str) -> dict[tuple[str, str], list[int]]:
    """Return the ids by checkpoint and procedure, for one of Llama's two normalisers, "legacy" and "new".

    In `legacy`, every text between special tokens starts with a space.
    """
    legacy = normalizer == "legacy"
    space = [28705] if legacy else []
    the, score = (415, 18528) if legacy else (1014, 18120)

    def question(prompt: str | None, first: bool) -> list[int]:
        user = [1, 1247, 28747] if first else [730, 28747]
        said = [score] if prompt is None else [the, 11510, 349, 464, *_WORDS[prompt], 28742, 18528]
        return [*user, *_IMAGE, *said, 354, 456, 3469, 28804, _END, *space, 13, 7226, 11143, 28747]

    def chat(prompts: list[str | None], target: str | None, last: list[int]) -> list[int]:
        ids: list[int] = []
        for prompt in prompts:
            for label in (387, 648):
                ids += [*question(prompt, not ids), label, _END, *space, 13]
        return [*ids, *question(target, False), *last]

    return {
        ("learn-user-pref", "scoring"): chat([*HISTORY], TARGET, [28705]),
        ("learn-user-pref", "training"): chat([*HISTORY], TARGET, []),
        ("viper", "scoring"): chat([None, None], None, [28705]),
    }

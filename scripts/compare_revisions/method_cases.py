"""Graphs of the two methods, one for each setting: ApplyPreferenceAdapter and ReNOOptimize."""

from .graphs import SIZE, PocketGraph
from .stand_ins import IP_ADAPTER


def adapter(batch: int = 1, cfg: float = 2.0, **settings):
    """Return a function that builds a graph that paints with the adapter."""

    def build(pocket: PocketGraph) -> None:
        pocket.latent = pocket.add("EmptyLatentImage", width=SIZE, height=SIZE, batch_size=batch)
        pocket.save(pocket.paint(pocket.adapted(**settings), cfg=cfg))

    return build


def masked_adapter(pocket: PocketGraph) -> None:
    """Paint with the adapter applied only to the left half."""
    black = pocket.add("SolidMask", value=0.0, width=SIZE, height=SIZE)
    white = pocket.add("SolidMask", value=1.0, width=SIZE // 2, height=SIZE)
    mask = pocket.add("MaskComposite", destination=black, source=white, x=0, y=0, operation="add")
    pocket.save(pocket.paint(pocket.adapted(mask=mask)), pocket.paint(pocket.adapted(mask=mask, dislikes="push away")))


def two_adapters(pocket: PocketGraph) -> None:
    bo = pocket.embedding(pocket.add("LoadUserHistory", user="bo"))
    pocket.save(pocket.paint(pocket.adapted(bo, model=pocket.adapted(strength=0.5))))


def ip_adapter(dislikes: str):
    """Return a function that builds a graph that paints with an IP-Adapter file."""

    def build(pocket: PocketGraph) -> None:
        pocket.preference = pocket.add("PreferenceModelFromIPAdapter", file=IP_ADAPTER)
        embedding = pocket.embedding(clip_vision=pocket.add("ProbePocketClipVision"))
        pocket.save(pocket.paint(pocket.adapted(embedding, dislikes=dislikes)))

    return build


def reno(batch: int = 1, precision: str = "auto", **settings):
    """Return a function that builds a graph that optimises the noise and saves every output of the node."""

    def build(pocket: PocketGraph) -> None:
        pocket.latent = pocket.add("EmptyLatentImage", width=SIZE, height=SIZE, batch_size=batch)
        pocket.preference = pocket.add("LoadPreferenceModel", checkpoint="pocket", precision=precision)
        save_all(pocket, pocket.optimised(**settings))

    return build


def save_all(pocket: PocketGraph, node, model=None) -> None:
    """Save the image, the latent and the curve, and the image that core paints from the optimised noise."""
    pocket.save(node[0], node[1], node[3], pocket.sample(node, model))


def reno_with_adapter(pocket: PocketGraph) -> None:
    model = pocket.adapted(end=0.9)
    save_all(pocket, pocket.optimised(model), model)


def reno_with_sigmas(pocket: PocketGraph) -> None:
    sigmas = pocket.add("SDTurboScheduler", model=pocket.model, steps=2, denoise=1.0)
    save_all(pocket, pocket.optimised(sigmas=sigmas, negative=None, cfg=1.0))


def reno_with_patch(pocket: PocketGraph) -> None:
    """Optimise through one of core's patches that modify tensors in place."""
    model = pocket.add("FreeU_V2", model=pocket.model, b1=1.3, b2=1.4, s1=0.9, s2=0.2)
    save_all(pocket, pocket.optimised(model, steps=1), model)


ADAPTER_CASES = {
    "node ApplyPreferenceAdapter": adapter(),
    "node ApplyPreferenceAdapter, strength 0.5": adapter(strength=0.5),
    "node ApplyPreferenceAdapter, strength 0": adapter(strength=0.0),
    "node ApplyPreferenceAdapter, part strengths": adapter(sem_strength=0.5, core_strength=1.5, img_strength=2.0),
    "node ApplyPreferenceAdapter, start and end": adapter(start=0.2, end=0.7),
    "node ApplyPreferenceAdapter, mask": masked_adapter,
    "node ApplyPreferenceAdapter, push away": adapter(dislikes="push away"),
    "node ApplyPreferenceAdapter, style": adapter(blocks="style"),
    "node ApplyPreferenceAdapter, block weights": adapter(block_weights="input=0.5, middle=0, output.1=1.5"),
    "node ApplyPreferenceAdapter, variety 0": adapter(variety=0.0),
    "node ApplyPreferenceAdapter, variety 2": adapter(variety=2.0),
    "node ApplyPreferenceAdapter, batch 2": adapter(batch=2),
    "node ApplyPreferenceAdapter, cfg 1": adapter(cfg=1.0),
    "node ApplyPreferenceAdapter, two in a row": two_adapters,
    "node PreferenceModelFromIPAdapter": ip_adapter("ignore"),
    "node PreferenceModelFromIPAdapter, push away": ip_adapter("push away"),
}
RENO_CASES = {
    "node ReNOOptimize": reno(),
    "node ReNOOptimize, 3 initial noises": reno(iterations=5, starts=3),
    "node ReNOOptimize, best of 4": reno(iterations=4, starts=4, batch=2),
    "node ReNOOptimize, views": reno(views=2),
    "node ReNOOptimize, margin": reno(reward="margin"),
    "node ReNOOptimize, dislike": reno(sense="dislike"),
    "node ReNOOptimize, Adam": reno(optimiser="adam", learning_rate=0.05),
    "node ReNOOptimize, checkpointing": reno(checkpointing=True, learning_rate=20.0),
    "node ReNOOptimize, batch 2 and patience": reno(batch=2, iterations=8, learning_rate=100.0, patience=1),
    "node ReNOOptimize, scheduler": reno(scheduler="karras", steps=3),
    "node ReNOOptimize, bfloat16": reno(precision="bfloat16"),
    "node ReNOOptimize, CLIP reward": reno(clip_weight=1.5, preference_weight=0.75),
    "node ReNOOptimize, sigmas": reno_with_sigmas,
    "node ReNOOptimize, adapter in front": reno_with_adapter,
    "node ReNOOptimize, patch in place": reno_with_patch,
}

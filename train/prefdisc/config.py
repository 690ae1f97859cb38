"""Settings of a PrefDisc training: a YAML file with `key=value` overrides from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from train.prefdisc.ablation_modes import MODES, Mode
from train.settings import CONFIGS as ALL_CONFIGS
from train.settings import SettingsError, read_settings

CONFIGS = ALL_CONFIGS / "prefdisc"


@dataclass(frozen=True)
class BaseConfig:
    """The base model.

    Attributes:
        path: Folder in Hugging Face's format, a base file of PrefGen, or "pocket".
        id: Name of the base model in checkpoints. Base files contain their own.
        quantize: "none", or "nf4" for 4-bit NF4 by bitsandbytes (paper index section 2).
        dtype: Precision of the frozen weights, and of computations with quantised weights.
    """

    path: str
    id: str = ""
    quantize: Literal["none", "nf4"] = "none"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


@dataclass(frozen=True)
class DataConfig:
    """Settings of the dataset and of the trials that are drawn from it.

    Attributes:
        folder: Folder of users.jsonl and images/ (see dataset.py).
        history: Number of history pairs N_ref (paper index section 1: 8).
        random_order: Whether to draw which image of a history pair is read first, as the authors do. Validation and
            scoring always read pairs in the order of `spec.disliked_first`.
        random_length: Whether to draw 0 to `history` pairs, so that short histories are trained too. Off in the paper.
        image_size: Side in pixels of the squares to which all images are resized, in training and in scoring (003:
            512). It becomes `PrefDiscSpec.square`.
        validation: Number of validation trials, the same in every evaluation. Our value; the paper gives none.
    """

    folder: str
    history: int = 8
    random_order: bool = False
    random_length: bool = False
    image_size: int = 512
    validation: int = 512


@dataclass(frozen=True)
class LoraConfig:
    """The LoRA of stage 1, with the values of the authors' public code (paper index section 2).

    Attributes:
        r: Rank.
        alpha: Scaling numerator; the update is scaled by alpha / r.
        dropout: Dropout of the LoRA's input in stage 1.
        stage_two_dropout: The same in stage 2, where the LoRA is frozen. None: as in stage 1, as the authors do.
        init: Initialisation, see peft's `init_lora_weights`.
        target_modules: Regular expression that matches module names.
        vision: Whether the LoRA also covers the vision tower (003: "vision encoder trained simultaneously"; it does
            not say how). With a LoRA, checkpoints stay small.
    """

    r: int = 8
    alpha: int = 8
    dropout: float = 0.1
    stage_two_dropout: float | None = None
    init: str = "gaussian"
    target_modules: str = (
        r".*(text_model|modality_projection|perceiver_resampler).*"
        r"(down_proj|gate_proj|up_proj|k_proj|q_proj|v_proj|o_proj).*"
    )
    vision: bool = False

    @property
    def targets(self) -> str:
        """Regular expression for peft, with the vision tower if `vision` is set."""
        tower = r"|.*vision_model.*(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
        return self.target_modules + (tower if self.vision else "")

    @property
    def changes_image_features(self) -> bool:
        """Return whether stage 1 changes image features, because the LoRA covers the connector or the vision tower."""
        return self.vision or any(part in self.target_modules for part in ("modality_projection", "perceiver"))


@dataclass(frozen=True)
class TokensConfig:
    """The preference tokens P_v, whose number is `spec.num_tokens`.

    Attributes:
        first_stage: The stage that introduces them. In the authors' code stage 1 has none.
        init: "uniform" in (0, 1), as the authors' code, or "embeddings": normal, with the standard deviation of the
            base's token embeddings. At the published learning rate tokens hardly move from where they start.
    """

    first_stage: Literal[1, 2] = 1
    init: Literal["uniform", "embeddings"] = "embeddings"


@dataclass(frozen=True)
class StageConfig:
    """Length and learning rate of a stage. Stage 1 trains the LoRA, stage 2 only P_v (paper index section 2)."""

    steps: int
    learning_rate: float = 1e-5


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run.

    Attributes:
        output: Parent folder of the stages' folders.
        base: The base model.
        data: The dataset.
        spec: Fields of `PrefDiscSpec`, except base, revision, lora and square. `turn` is the template of turns with a
            prompt.
        stage_one, stage_two: Length and learning rate of the two stages.
        turn_without_prompt: Template of turns without a prompt, for modes that use no prompts.
        lora: The LoRA of stage 1.
        tokens: The preference tokens.
        loss: Cross-entropy over the whole "vocabulary" (the authors' code), or over the two "labels".
        mode: Parts of the method to use, see ablation_modes.py.
        stage: The stage to run.
        batch: Pairs in an optimiser step, over all processes and accumulation (paper index: 64).
        per_device: Pairs in one forward pass of one process.
        seed: Random seed.
        start: Preference checkpoint that stage 2 starts from. Empty: the checkpoint written by stage 1.
        cache_features: Whether to encode every image once and cache its features. Needs a frozen vision tower and
            connector.
        cache_folder: Folder of the cache. Empty: the run's folder.
        checkpointing: Whether to recompute activations in the backward pass.
        weight_decay: Weight decay of AdamW.
        training: Further arguments of transformers' `TrainingArguments`.
    """

    output: str
    base: BaseConfig
    data: DataConfig
    spec: dict[str, Any]
    stage_one: StageConfig
    stage_two: StageConfig
    turn_without_prompt: str = ""
    lora: LoraConfig = field(default_factory=LoraConfig)
    tokens: TokensConfig = field(default_factory=TokensConfig)
    loss: Literal["vocabulary", "labels"] = "vocabulary"
    mode: Literal["base", "prompt", "contrastive", "full"] = "full"
    stage: Literal[1, 2] = 1
    batch: int = 64
    per_device: int = 2
    seed: int = 0
    start: str = ""
    cache_features: bool = False
    cache_folder: str = ""
    checkpointing: bool = False
    weight_decay: float = 1e-2
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.stage == 2 and not self.mode_flags.tokens:
            raise SettingsError(
                f"Mode {self.mode!r} has no preference tokens, which are all that stage 2 trains. Use mode 'full'."
            )
        if self.cache_features and self.stage == 1 and self.lora.changes_image_features:
            raise SettingsError(
                "cache_features needs constant image features, which stage 1's LoRA changes. Set cache_features=false, "
                "or exclude the connector and the vision tower with lora.target_modules and lora.vision."
            )
        if self.batch % self.per_device:
            raise SettingsError(f"batch is {self.batch}; expected a multiple of per_device ({self.per_device}).")

    @property
    def mode_flags(self) -> Mode:
        """Parts of the method that the mode turns on."""
        return MODES[self.mode]

    @property
    def has_tokens(self) -> bool:
        """Return whether the model of this stage has preference tokens."""
        return self.mode_flags.tokens and self.stage >= self.tokens.first_stage

    @property
    def current_dropout(self) -> float:
        """Dropout of the LoRA in the stage that is run."""
        second = self.lora.stage_two_dropout
        return self.lora.dropout if self.stage == 1 or second is None else second

    @property
    def current_stage(self) -> StageConfig:
        """Settings of the stage that is run."""
        return self.stage_one if self.stage == 1 else self.stage_two

    @property
    def folder(self) -> Path:
        """Folder of the stage's states, logs and checkpoint."""
        return Path(self.output) / self.mode / f"stage{self.stage}"

    def accumulation(self, processes: int) -> int:
        """Return the number of forward passes of each process in one optimiser step.

        Raises:
            SettingsError: `batch` is not divisible among the processes.
        """
        pairs = self.per_device * processes
        if self.batch % pairs:
            raise SettingsError(
                f"batch is {self.batch}; expected a multiple of {pairs} ({processes} processes of {self.per_device} "
                "pairs). Change batch, per_device or the number of processes."
            )
        return self.batch // pairs

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)


def load_config(name: str, overrides: Sequence[str] = (), **chosen: Any) -> RunConfig:
    """Read the settings of a run, see `read_settings`.

    Raises:
        SettingsError: The settings are invalid.
    """
    return read_settings(RunConfig, "prefdisc", name, overrides, **chosen)

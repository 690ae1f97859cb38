"""Settings for training PrefDisc, read from a YAML file with `key=value` overrides from the command line."""

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
        id: Name of the base model in checkpoints. Empty: the name in the base file, or the name of the folder.
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
        folder: Folder that contains users.jsonl and images/ (see dataset.py).
        history: Number of history pairs N_ref (paper index section 1: 8).
        random_order: Whether the order of the two images of a history pair is random, as in the authors' code.
            Validation and scoring always use the order that `spec.disliked_first` sets.
        random_length: Whether the length of a history is random, from 0 to `history` pairs, so that the model also
            learns from short histories. Off in the paper.
        image_size: Side length in pixels. All images are resized to squares of this size, in training and in scoring
            (003: 512). Becomes `PrefDiscSpec.square`.
        validation: Number of validation trials. All evaluations use the same trials. The number is our choice; the
            paper gives none.
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
        stage_two_dropout: Dropout of the LoRA's input in stage 2, where the LoRA is frozen. None uses `dropout`, as in
            the authors' code.
        init: Initialisation, see peft's `init_lora_weights`.
        target_modules: Regular expression that matches module names.
        vision: Whether the LoRA also covers the vision tower. 003 says "vision encoder trained simultaneously", but not
            how. With a LoRA, checkpoints stay small.
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
        """Regular expression of the target modules for peft. It includes the vision tower if `vision` is True."""
        tower = r"|.*vision_model.*(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
        return self.target_modules + (tower if self.vision else "")

    @property
    def changes_image_features(self) -> bool:
        """Whether stage 1 changes image features. It does if the LoRA covers the connector or the vision tower."""
        return self.vision or any(part in self.target_modules for part in ("modality_projection", "perceiver"))


@dataclass(frozen=True)
class TokensConfig:
    """Settings of the preference tokens P_v. Their number is `spec.num_tokens`.

    Attributes:
        first_stage: Stage that introduces the tokens. In the authors' code, stage 1 has no tokens.
        init: "uniform" samples from (0, 1), as in the authors' code. "embeddings" samples from a normal distribution
            with the standard deviation of the base's token embeddings. At the published learning rate, tokens hardly
            change during the training.
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
        loss: "vocabulary" computes the cross-entropy over the whole vocabulary, as in the authors' code. "labels"
            computes it over the two labels.
        mode: Parts of the method to use, see ablation_modes.py.
        stage: The stage to run.
        batch: Number of pairs in an optimiser step, summed over processes and accumulated passes (paper index: 64).
        per_device: Number of pairs in a forward pass of each process.
        seed: Random seed.
        start: Preference checkpoint that stage 2 starts from. Empty: the checkpoint written by stage 1.
        cache_features: Whether to encode every image once and cache its features. Needs a frozen vision tower and
            connector.
        cache_folder: Folder of the cache. Empty: the run's folder.
        checkpointing: Whether to recompute activations in the backward pass.
        weight_decay: Weight decay of AdamW.
        training: Additional arguments for transformers' `TrainingArguments`.
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
                f"Mode {self.mode!r} has no preference tokens, but stage 2 trains only these. Use mode 'full'."
            )
        if self.cache_features and self.stage == 1 and self.lora.changes_image_features:
            raise SettingsError(
                "cache_features needs constant image features, but stage 1's LoRA changes them. Set "
                "cache_features=false, or exclude the connector and the vision tower with lora.target_modules and "
                "lora.vision."
            )
        if self.batch % self.per_device:
            raise SettingsError(f"batch is {self.batch}; expected a multiple of per_device ({self.per_device}).")

    @property
    def mode_flags(self) -> Mode:
        """Parts of the method that the mode uses."""
        return MODES[self.mode]

    @property
    def has_tokens(self) -> bool:
        """Return whether the model of this stage has preference tokens."""
        return self.mode_flags.tokens and self.stage >= self.tokens.first_stage

    @property
    def current_dropout(self) -> float:
        """Dropout of the LoRA's input in the current stage."""
        second = self.lora.stage_two_dropout
        return self.lora.dropout if self.stage == 1 or second is None else second

    @property
    def current_stage(self) -> StageConfig:
        """Length and learning rate of the current stage."""
        return self.stage_one if self.stage == 1 else self.stage_two

    @property
    def folder(self) -> Path:
        """Folder for the current stage's states, logs and checkpoint."""
        return Path(self.output) / self.mode / f"stage{self.stage}"

    def accumulation(self, processes: int) -> int:
        """Return the number of forward passes of each process in one optimiser step.

        Raises:
            SettingsError: `batch` is not divisible among the processes.
        """
        pairs = self.per_device * processes
        if self.batch % pairs:
            raise SettingsError(
                f"batch is {self.batch}; expected a multiple of {pairs} ({processes} processes with {self.per_device} "
                "pairs each). Change batch, per_device or the number of processes."
            )
        return self.batch // pairs

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)


def load_config(name: str, overrides: Sequence[str] = (), **chosen: Any) -> RunConfig:
    """Read the settings of a run. See `read_settings` for the arguments.

    Raises:
        SettingsError: The settings are invalid.
    """
    return read_settings(RunConfig, "prefdisc", name, overrides, **chosen)

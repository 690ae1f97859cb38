"""What a training run of PrefDisc is told: one YAML file, with `key=value` overrides on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from train.prefdisc.modes import MODES, Mode
from train.settings import CONFIGS as ALL_CONFIGS
from train.settings import SettingsError, one_of, read_settings

CONFIGS = ALL_CONFIGS / "prefdisc"
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class BaseConfig:
    """The base model that is adapted.

    path: a folder in Hugging Face's format, a base file of ours, or "pocket". id: what a checkpoint names it by; empty
    for a base file, which says it itself. quantize: "none", or "nf4" for 4-bit NF4 by bitsandbytes (method.md section
    2). dtype: of the frozen weights, and of the arithmetic where they are quantised.
    """

    path: str
    id: str = ""
    quantize: str = "none"
    dtype: str = "float32"


@dataclass(frozen=True)
class DataConfig:
    """What is read, and how a trial is drawn from it.

    folder: users.jsonl and images/ (see dataset.py). history: N_ref pairs (method.md section 1: 8). random_length: draw
    0 to `history` pairs instead, so that short histories are learnt too (default ours: off, as the paper has it).
    image_size: images are resized to this many pixels square (003: 512). validation: trials of validation users in one
    evaluation, the same ones every time (default ours; the paper gives none).
    """

    folder: str
    history: int = 8
    random_length: bool = False
    image_size: int = 512
    validation: int = 512


@dataclass(frozen=True)
class LoraConfig:
    """The low-rank adapter of stage 1, as in the authors' public code (method.md section 2).

    target_modules: a regular expression over module names. vision: 003's "vision encoder trained simultaneously"; here
    by the same LoRA on the tower (default ours; it does not say whether whole), so that a checkpoint stays a LoRA.
    """

    r: int = 8
    alpha: int = 8
    dropout: float = 0.1
    init: str = "gaussian"
    target_modules: str = (
        r".*(text_model|modality_projection|perceiver_resampler).*"
        r"(down_proj|gate_proj|up_proj|k_proj|q_proj|v_proj|o_proj).*"
    )
    vision: bool = False

    @property
    def targets(self) -> str:
        """The expression that peft is given."""
        tower = r"|.*vision_model.*(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
        return self.target_modules + (tower if self.vision else "")

    @property
    def sees(self) -> bool:
        """Whether stage 1 changes what an image becomes (the connector or the tower)."""
        return self.vision or any(part in self.target_modules for part in ("modality_projection", "perceiver"))


@dataclass(frozen=True)
class StageConfig:
    """Which weights learn, and for how long: stage 1 the LoRA and P_v, stage 2 P_v alone (method.md section 2)."""

    steps: int
    learning_rate: float = 1e-5


@dataclass(frozen=True)
class RunConfig:
    """One run.

    output: the folder that gets a folder a stage. spec: PrefDiscSpec's fields, but for base, revision and lora; `turn`
    is for turns that name their prompt, turn_without_prompt for modes without. loss: cross-entropy over the whole
    "vocabulary" (the authors' code) or the two "labels". batch: pairs in an optimiser step, over all processes and
    accumulation (method.md: 64); per_device: pairs in one forward of one process. start: the preference checkpoint that
    stage 2 begins with; empty for the one stage 1 wrote. cache_features: encode every image once and keep it; only
    where the tower and the connector stay as they are. cache_folder: where; empty for the run's folder. checkpointing:
    recompute activations in the backward pass. training: further arguments of transformers' TrainingArguments.
    """

    output: str
    base: BaseConfig
    data: DataConfig
    spec: dict[str, Any]
    stage_one: StageConfig
    stage_two: StageConfig
    turn_without_prompt: str = ""
    lora: LoraConfig = field(default_factory=LoraConfig)
    loss: str = "vocabulary"
    mode: str = "full"
    stage: int = 1
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
        one_of("mode", self.mode, MODES)
        one_of("stage", self.stage, (1, 2))
        one_of("loss", self.loss, ("vocabulary", "labels"))
        one_of("base.quantize", self.base.quantize, ("none", "nf4"))
        one_of("base.dtype", self.base.dtype, DTYPES)
        if self.stage == 2 and not self.what.tokens:
            raise SettingsError(
                f"Mode {self.mode!r} has no preference tokens, and stage 2 trains nothing else: "
                "choose stage 1, or mode 'full'."
            )
        if self.cache_features and self.stage == 1 and self.lora.sees:
            raise SettingsError(
                "cache_features keeps what the tower and the connector show, which stage 1's LoRA changes: turn it "
                "off, or choose lora.target_modules and lora.vision so that both stay as they are."
            )
        if self.batch % self.per_device:
            raise SettingsError(
                f"batch is {self.batch}, expected a multiple of per_device, which is {self.per_device}."
            )

    @property
    def what(self) -> Mode:
        """The mode's parts of the method."""
        return MODES[self.mode]

    @property
    def now(self) -> StageConfig:
        """The stage that is run."""
        return self.stage_one if self.stage == 1 else self.stage_two

    @property
    def folder(self) -> Path:
        """Where this stage's states, logs and checkpoint are kept."""
        return Path(self.output) / self.mode / f"stage{self.stage}"

    def accumulation(self, processes: int) -> int:
        """Forwards of each process in one optimiser step. Raises SettingsError where `batch` cannot be shared out."""
        together = self.per_device * processes
        if self.batch % together:
            raise SettingsError(
                f"batch is {self.batch}, which {processes} processes of {self.per_device} pairs cannot share: "
                f"choose a multiple of {together}, or another number of processes."
            )
        return self.batch // together

    def to_json(self) -> dict[str, Any]:
        """The configuration as JSON values."""
        return asdict(self)


def load_config(name: str, overrides: Sequence[str] = (), **chosen: Any) -> RunConfig:
    """A run's configuration: see `read_settings`. Raises SettingsError."""
    return read_settings(RunConfig, "prefdisc", name, overrides, **chosen)

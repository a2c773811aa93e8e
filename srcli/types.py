"""The nouns that flow between the rooms.

Conventions everywhere: metres, radians, seconds; world frame z up, table at z = 0; ``T_world_cam`` maps camera to world with
OpenCV optical axes (x right, y down, z forward); quaternions xyzw with w >= 0; arrays are numpy, C order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

Kind = Literal["grasp", "place"]
Phase = Literal["pick", "place"]

PICK_SHIFT, PLACE_SHIFT = -0.224, 0.224
"""Shift in y (metres) of the two zones of placing tasks. In its zone frame each zone looks like the workspace for picking."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What the cameras gave: M calibrated RGB-D views.

    Attributes:
        rgb: (M, H, W, 3) uint8.
        depth: (M, H, W) float32, metres along the optical axis; 0 where the sensor gave no return.
        K: (M, 3, 3) intrinsics in pixels.
        T_world_cam: (M, 4, 4) camera-to-world.
    """

    rgb: U8
    depth: F32
    K: F64
    T_world_cam: F64


@dataclass(frozen=True, slots=True)
class TextEmbedding:
    """One sentence in the encoder's joint space.

    Attributes:
        pooled: (D,) float32, unit length.
        tokens: (L, D) float32, projected token features, unit length; L is the encoder's fixed number of kept tokens.
        mask: (L,) True where a token is real.
    """

    pooled: F32
    tokens: F32
    mask: Bool


@dataclass(frozen=True, slots=True)
class SemanticCloud:
    """Points with fused features.

    Attributes:
        points: (N, 3) float32, world frame, metres.
        features: (N, D) float32, fused dense features in the joint space.
        similarity: (N,) float32, cosine with the pooled instruction (smoothed over neighbours when configured).
        views: (N,) uint8, number of cameras that see the point (>= 1).
        rest: (R, 3) float32, the points that were seen but are less similar to the instruction than those kept; empty where the
            selection does not ask for similarity.
    """

    points: F32
    features: F32
    similarity: F32
    views: U8
    rest: F32 = field(default_factory=lambda: np.zeros((0, 3), dtype=np.float32))


@dataclass(frozen=True, slots=True)
class Percept:
    """A semantic cloud and the sentence it was compared with."""

    cloud: SemanticCloud
    text: TextEmbedding


@dataclass(frozen=True, slots=True)
class Candidates:
    """The action prior of one decision.

    Attributes:
        poses: (K, 7) float32: fingertip position (or release position of the held object's bottom), quaternion xyzw of the tool
            (tool z = approach, tool x = closing direction), canonical form.
        widths: (K,) float32, opening before closing, metres (0 for placements).
        quality: (K,) float32 in 0..1.
    """

    poses: F32
    widths: F32
    quality: F32
    kind: Kind = "grasp"

    def __len__(self) -> int:
        return int(self.poses.shape[0])


OPENING_MARGIN = 0.012
"""How much wider than an action's width the gripper opens before it grasps, up to its stroke, metres."""


@dataclass(frozen=True, slots=True)
class Action:
    """What the arm is to do. ``index`` is the candidate taken, or None for a method that brought its own pose."""

    kind: Kind
    pose: F32
    width: float
    index: int | None = None


class Reason(str, Enum):
    """How one attempt ended."""

    SUCCESS = "success"
    WRONG_OBJECT = "wrong_object"
    NOTHING_HELD = "nothing_held"
    SLIPPED = "slipped"
    COLLISION = "collision"
    NO_IK = "no_ik"
    NO_CANDIDATE = "no_candidate"
    WRONG_REGION = "wrong_region"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Goal:
    """What the sentence asks for, in simulator terms. Privileged: for the expert and the success check only.

    Attributes:
        keyword: the word or phrase that stands for the targets.
        keyword_kind: label, general, attribute or function; of a compositional sentence its kind (attribute_noun, reference or
            superlative).
        targets: scene slots of which any counts as success. Where they follow from the settled scene, empty until then.
        relation: the word that relates the placement to its reference ("near"); empty for picking.
        references: scene slots of which any may be the reference.
        reference: the word or phrase that stands for them.
        modifier: in a compositional sentence, what tells the targets from others of the keyword: an attribute ("red"), a relation
            to the reference ("next to") or a superlative ("leftmost"). Else empty.
    """

    keyword: str
    keyword_kind: str
    targets: tuple[int, ...]
    relation: str = ""
    references: tuple[int, ...] = ()
    reference: str = ""
    modifier: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """How an object of a scene differs from the catalogue's own instance.

    Attributes:
        scale: factor on all lengths; the mass follows the volume.
        color: palette name that its main colour is painted in; empty: its own.
    """

    scale: float = 1.0
    color: str = ""


OWN_LOOK = Look()
"""The catalogue's own instance."""


@dataclass(frozen=True, slots=True)
class EpisodeSpec:
    """Everything that follows from (task, split, seed): rebuild the episode from it alone.

    Attributes:
        seed: entropy of the episode's ``SeedSequence`` (root, domain, index).
        objects: catalogue names, one per slot.
        drops: (S, 7) float64 spawn poses, xyz metres + quaternion xyzw, in slot order, each in the frame of its zone.
        case: name of the test case, or empty.
        wording: "train" or "heldout".
        shifts: (S,) shift in y of each slot's zone, metres; empty: all 0.
        held: slot that is in the gripper before the place phase begins, or -1.
        fixed: the drop poses are given by a benchmark file and are never exchanged.
        looks: (S,) how the objects differ from the catalogue's; empty: not at all.
        redraws: drop poses like ``drops`` for the next layouts, where a scene does not settle as its sentence needs; empty: the
            drop poses go round among the objects.
    """

    task: str
    split: str
    seed: tuple[int, ...]
    instruction: str
    goal: Goal
    objects: tuple[str, ...]
    drops: F64
    wording: str = "train"
    case: str = ""
    shifts: tuple[float, ...] = ()
    held: int = -1
    fixed: bool = False
    looks: tuple[Look, ...] = ()
    redraws: tuple[F64, ...] = ()


@dataclass(frozen=True, slots=True)
class SceneTruth:
    """Privileged state at a decision: for the expert, the success check and analysis.

    Attributes:
        poses: (S, 7) float64 centre-of-mass pose of each slot; NaN when removed.
        present: (S,) True while the object is in the workspace.
        segmentation: (M, H, W) uint16: slot + 1, 0 = background, robot = 65535.
        contacts: pairs of slots that touch, the smaller first; -1 stands for the table.
        workspace: bounds along x and along y, metres; None: those of the cell.
    """

    poses: F64
    present: Bool
    segmentation: npt.NDArray[np.uint16]
    contacts: tuple[tuple[int, int], ...] = ()
    workspace: tuple[tuple[float, float], tuple[float, float]] | None = None


@dataclass(frozen=True, slots=True)
class HeldExtent:
    """Measured, not true, size of what the gripper holds, as it hangs.

    Attributes:
        radius: 95th percentile of the horizontal distance of its points from the centre of its footprint, metres.
        half_width: the same along its narrow side.
        height: from its lowest to its highest point, metres.
    """

    radius: float
    half_width: float
    height: float


@dataclass(frozen=True, slots=True)
class Execution:
    """What the simulator reports of one executed action.

    Attributes:
        reason: SUCCESS when something is held at the end of a grasp (or was released in a place), else why not.
        slot: the slot held or released; None when nothing is.
        steps: simulated steps (1/240 s).
    """

    reason: Reason
    slot: int | None
    steps: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt, judged against the goal."""

    success: bool
    reason: Reason
    slot: int | None
    detail: dict[str, float] = field(default_factory=dict)

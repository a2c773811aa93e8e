"""What others have published, to stand beside our numbers. Nothing here enters a computation.

The tables of the paper (Guan et al. 2026) are images; only what its running text says is known. The numbers of A2
(Xu et al., arXiv 2503.09423) and of the re-run of its released weights are quoted from the third-party repository
``grach0v/Action-Prior-Alignment`` (scripts/test/cmp.md, scripts/reproduce_pretrained_gpu.sh) and are second-hand.
"""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN = "not published in text"
SECOND_HAND = "second-hand"

SR_ROW, SR_A_ROW, BASE_ROW = "SR", "SR-A", "BASE"
"""What the paper calls the systems of its ablation; a method's specification says for which of them it stands."""
PAPER_ROWS = (SR_ROW, SR_A_ROW, BASE_ROW)


@dataclass(frozen=True, slots=True)
class Quote:
    """One published row of Table 1.

    Attributes:
        success: per cent, as printed, or words; ``steps``: planning steps.
        how: where it stands, and whether it is quoted second-hand.
    """

    task: str
    split: str
    who: str
    success: str
    steps: str
    how: str


_A2 = "A2, published"
_RERUN = "A2 weights, re-run by others"
_SR = "SR, the paper"

TABLE1: tuple[Quote, ...] = (
    Quote("pick", "seen", _A2, "95.3", "2.55", SECOND_HAND),
    Quote("pick", "seen", _RERUN, "91 to 95", "2.08 to 2.58", SECOND_HAND),
    Quote("pick", "seen", _SR, UNKNOWN, UNKNOWN, "text: SR-A 94.1 is its best seen row"),
    Quote("pick", "unseen", _A2, "97.3", "2.57", SECOND_HAND),
    Quote("pick", "unseen", _RERUN, "93 to 96", "2.47 to 2.77", SECOND_HAND),
    Quote("pick", "unseen", _SR, UNKNOWN, UNKNOWN, "text: +9.7 over its own A2 row"),
    Quote("place", "seen", _A2, "89.3", "", SECOND_HAND + ", index rule, nothing executed"),
    Quote("place", "seen", _RERUN, "66.0", "", SECOND_HAND + ", index rule"),
    Quote("place", "seen", _SR, UNKNOWN, "", ""),
    Quote("place", "unseen", _A2, "74.0", "", SECOND_HAND + ", index rule, nothing executed"),
    Quote("place", "unseen", _RERUN, "37 to 41", "", SECOND_HAND + ", index rule"),
    Quote("place", "unseen", _SR, UNKNOWN, "", "text: +9.9 over its own A2 row"),
    Quote("pick_place", "seen", _A2, "87.5", "2.45", SECOND_HAND + ", placing by index rule"),
    Quote("pick_place", "seen", _RERUN, "47 to 53", "", SECOND_HAND + ", placing by index rule"),
    Quote("pick_place", "seen", _SR, UNKNOWN, UNKNOWN, ""),
    Quote("pick_place", "unseen", _A2, "71.7", "3.02", SECOND_HAND + ", placing by index rule"),
    Quote("pick_place", "unseen", _RERUN, "57", "", SECOND_HAND + ", placing by index rule"),
    Quote("pick_place", "unseen", _SR, UNKNOWN, UNKNOWN, "text: +17.6 over its own A2 row"),
)
TABLE1_NOTE = (
    "Rows in italics are **theirs**, from other objects, candidates, cameras and physics: references, not competitors. "
    "_Second-hand_: quoted by a third party, the original table could not be read. Counts are known for A2 only through its "
    "protocol (cases x 15 runs). The paper's gains cannot refer to A2's published unseen pick number: 97.3 + 9.7 exceeds 100."
)

TABLE2_NOTE = f"The paper's Table 2 groups its grasp episodes in batches of ten; its values are {UNKNOWN}."

ABLATION: dict[tuple[str, str, str], str] = {(SR_A_ROW, "pick", "seen"): "94.1"}
"""(row of the paper, task, split) to the success rate that the paper's text states."""

ABLATION_NOTE = (
    f"The paper's text states one cell (SR-A, seen pick, 94.1); the others are {UNKNOWN}. In words: BASE and SR-A are comparable "
    "to SR or slightly better on seen rows, SR is best on every unseen row with fewer planning steps."
)
NOISE_NOTE = (
    f"The paper's Table 4 is {UNKNOWN}. In words: success on unseen grasping falls with sigma, and ReLU² is best at every "
    "level. The paper gives no unit for sigma."
)

OTHERS: tuple[tuple[str, str, str, str], ...] = (
    ("VLG, its 10 pick cases", "75.3", "9.55", "re-run by the ThinkGrasp authors (project page); step cap above 8"),
    ("ThinkGrasp, the same cases", "98.0", "3.39", "its authors (project page); step cap above 8"),
    ("OVGrasp, the same cases", "43.8", "4.88", "ThinkGrasp's project page"),
    ("GraspSplats, 23 RGB views, seen / unseen", "68.0 / 31.3", "1.89 / 2.19", "A2's appendix, Table VII"),
    ("GraspSplats, 3 RGB-D views, seen / unseen", "55.0 / 34.6", "3.48 / 1.36", "A2's appendix, Table VII"),
    ("GraspSplats, 23 RGB-D views, seen / unseen", "58.0 / 37.3", "2.05 / 1.67", "A2's appendix, Table VII"),
)

"""VLG: object tokens times the sentence, read by grasps through one cross-attention block; trained by imitation.

Vision-Language-Grasping (Xu et al., "A Joint Modeling of Vision-Language-Action for Target-oriented Grasping in Clutter", ICRA
2023, arXiv 2302.12610). Written from the description; no line of its code.

**Why imitation, not its actor-critic.** VLG is published as a discrete soft actor-critic with rewards from the simulator. As
released, its actor gets no gradient from the critic: the critic's values are (B, A, 1), the log probabilities (B, A), and at a
batch of one their difference broadcasts to (1, A, A), whose weighted sum leaves the critic's part constant. What is left of the
actor's loss is the entropy. A port to the letter would learn next to nothing through the actor; one that is mended is another
algorithm, and takes thousands of simulated episodes where all other rows here learn from the same demonstrations. So the network
is kept and trained by cross-entropy over the candidates, the expert's as the label: the row compares networks on the same data.

What else differs: boxes are regions of the encoder's cells, not true masks (the published boxes leave out what is narrower than
3 cm, and show the smaller piece of a thing that is cut in two); a token is the mean of the dense features in its region, not the
image tower's feature of a crop; positions are scaled to the workspace before their Fourier features.
"""

from __future__ import annotations

from srcli.methods import WHOLE_VIEWS
from srcli.methods.base import MethodSpec
from srcli.methods.vlg.section import VlgConfig

SPEC = MethodSpec(
    name="vlg",
    title="VLG, by imitation",
    tasks=frozenset({"pick"}),
    build="srcli.methods.vlg.policy:build",
    fit="srcli.methods.vlg.training:fit",
    reads="features",
    section=VlgConfig,
    acts_with=("regions",),
    fidelity="adapter",
    source="VLG (Xu et al., ICRA 2023, arXiv 2302.12610): its network on regions for boxes, trained by imitation",
    paper_row="VLG",
    shares=(*WHOLE_VIEWS, "learning/regions.py"),
)

"""GraspNet-baseline's network (Fang et al., CVPR 2020) written anew from its description, without compiled extensions."""

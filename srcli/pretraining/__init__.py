"""What the package ships is made here: the encoder, the quality of grasps, GraspNet."""

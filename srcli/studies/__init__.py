"""Studies that train and evaluate many arms: the ablation and the noise sweep."""

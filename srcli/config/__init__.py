"""One typed model per section of params.yaml that belongs to no method."""

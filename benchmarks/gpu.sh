#!/usr/bin/env bash
# On one GPU, in under eight minutes: training, dense features of ViT-L/14 and one decision, each beside its CPU reference of the same run.
set -euo pipefail
cd "$(dirname "$0")"
exec timeout 480 "${PYTHON:-python}" gpu.py "$@"

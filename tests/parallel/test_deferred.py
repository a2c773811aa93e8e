"""torchvision and timm are entered without being run, and run when something asks for them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from srcli.config.encoder import EncoderConfig
from srcli.perception.encoders import load_encoder

LOAD = """
import sys
from srcli.config.encoder import EncoderConfig
from srcli.perception.encoders import load_encoder
encoder = load_encoder(EncoderConfig())
print(float(abs(encoder.text(["pick up the red cup"])[0].pooled).sum()))
"""
DEFER = "from srcli.parallel.deferred import defer_imports\ndefer_imports()\n"
ASK = """
assert not {"torch._dynamo", "sympy", "torchvision.datasets", "timm.models.resnet"} & set(sys.modules), "they ran"
import timm, torchvision, torchvision.transforms
assert timm.__version__ and "timm.models.resnet" not in sys.modules
assert not hasattr(torchvision, "no_such_name") and not hasattr(timm, "no_such_name")
assert type(timm.create_model("resnet18", num_classes=3)).__name__ == "ResNet"
assert "resnet50" in timm.list_models() and timm.create_model("srcli_conv8").num_features > 0
"""


def _run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_encoder_is_the_same_and_what_is_asked_for_is_there() -> None:
    embedding = load_encoder(EncoderConfig()).text(["pick up the red cup"])[0].pooled
    assert float(_run(DEFER + LOAD + ASK)) == pytest.approx(float(np.abs(embedding).sum()), rel=1e-6)


COMMAND = """
import sys
from srcli.cli import main
sys.argv = ["srcli", "understand", "pick up the red cup"]
try:
    main()
except SystemExit as ended:
    print(ended.code, "open_clip" in sys.modules, "sympy" in sys.modules)
"""


@pytest.mark.slow
def test_a_command_does_not_run_them() -> None:
    assert _run(COMMAND).splitlines()[-1] == "0 True False"

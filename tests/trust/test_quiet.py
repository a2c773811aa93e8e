"""What PyBullet prints of itself is left out; everything else reaches standard error, results standard output."""

import subprocess
import sys

CODE = """
import os
from srcli.parallel.quiet import reserved
with reserved():
    import pybullet
    os.write(1, b"chatter\\nargv[0]=x\\npart")
print("result", pybullet.DIRECT)
"""


def test_noise_is_left_out_and_nothing_else():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == "result 2\n"
    assert done.stderr == "chatter\npart\n"


def test_a_command_without_streams_writes_into_no_file(tmp_path):
    lines = (
        "import os",
        "os.close(1), os.close(2)",
        "from srcli.cli import open_streams",
        "open_streams()",
        f"open({str(tmp_path / 'x')!r}, 'w')",
        "os.write(1, b'a'), os.write(2, b'b')",
    )
    code = "; ".join(lines)
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert (tmp_path / "x").read_bytes() == b""

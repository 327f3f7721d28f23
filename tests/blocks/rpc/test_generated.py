"""The generated code is that of blocks.proto, by the generator that is pinned."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.drive import CHECKOUT

PROTO = "blocks/rpc/blocks.proto"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", "-I", "."),
            *(f"--python_out={folder}", f"--pyi_out={folder}", PROTO),
        ],
        cwd=CHECKOUT,
        check=True,
    )
    return folder / "blocks" / "rpc"


@pytest.mark.parametrize("name", ["blocks_pb2.py", "blocks_pb2.pyi"])
def test_what_is_committed_is_what_is_generated(made: Path, name: str) -> None:
    committed = (CHECKOUT / "blocks" / "rpc" / name).read_text()
    assert committed == (made / name).read_text(), "run make protos"

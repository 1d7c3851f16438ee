"""The kernelspec: installed, found by Jupyter, and as good a kernel as the stock one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupyter_kernel_test
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from warm_kernel import Kernel

from nbmlops import kernels
from nbmlops.kernels import spec


@pytest.fixture
def jupyter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Jupyter data folder of this test's own."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "prefix" / "share" / "jupyter"))
    return tmp_path


def test_install_and_remove(jupyter: Path, cli: Any) -> None:
    said = cli("kernel", "install", "--user", "--preload", "pandas, sklearn.linear_model").out
    folder = jupyter / "data" / "kernels" / "nbmlops"
    assert str(folder) in said
    assert "papermill --kernel nbmlops" in said
    written = json.loads((folder / "kernel.json").read_text())
    assert written["argv"] == [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    assert written["metadata"]["kernel_provisioner"] == {
        "provisioner_name": "nbmlops",
        "config": {"preload": ["pandas", "sklearn.linear_model"]},
    }
    assert written["metadata"]["debugger"] is True
    assert (folder / "logo-64x64.png").is_file()
    cli("kernel", "install", "--user")  # again: replaced
    assert KernelSpecManager().get_kernel_spec("nbmlops").display_name == "Python 3 (nbmlops, warm)"
    assert str(folder) in cli("kernel", "remove").out
    assert not folder.exists()
    assert "nbmlops kernel install" in cli("kernel", "remove", code=3).err


def test_install_says_what_is_wrong(jupyter: Path, cli: Any) -> None:
    wrong = cli("kernel", "install", "--user", "--preload", "torch,pandas,mine", code=2).err
    assert "'torch'" in wrong
    assert "'mine'" in wrong
    assert "exclude each other" in cli("kernel", "install", "--user", "--prefix", "x", code=2).err
    (jupyter / "file").touch()
    assert "cannot be written" in cli("kernel", "install", "--prefix", str(jupyter / "file"), code=4).err
    cli("kernel", "install", "--prefix", str(jupyter / "prefix"))
    assert "nbmlops" in KernelSpecManager().find_kernel_specs()


def test_only_ipykernel_is_made_warm(jupyter: Path) -> None:
    folder = jupyter / "data" / "kernels"
    for name, argv, metadata in [
        ("r", ["R"], {}),
        ("far", ["python", "-m", "ipykernel_launcher"], {"kernel_provisioner": {"provisioner_name": "remote"}}),
    ]:
        (folder / name).mkdir(parents=True)
        words = {"argv": argv, "display_name": name, "language": "x", "metadata": metadata}
        (folder / name / "kernel.json").write_text(json.dumps(words))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KernelSpecManager, "ensure_native_kernel", False)
        assert "not ipykernel" in kernels.make_warm(KernelManager(kernel_name="r"), [])


def test_doctor_tells_of_warm_kernels(cli: Any) -> None:
    found = {f["check"]: f for f in cli("doctor", "--json").json()["findings"]}
    assert found["warm kernels"]["level"] == "pass"


# --- jupyter's own tests of a kernel, on both ------------------------------------------------------------------------
@pytest.fixture(scope="module")
def _installed(runtime: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
        patch.setenv("JUPYTER_DATA_DIR", str(runtime / "data"))
        patch.setenv("IPYTHONDIR", str(runtime / "ipython"))
        spec.register()
        spec.install(["numpy"], user=True)
        yield


class _Questions:
    language_name, file_extension = "python", ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples = [{"text": "zi", "matches": {"zip"}}]
    complete_code_samples = ["1", "def f(x):\n  return 2*x\n\n"]
    incomplete_code_samples = ["print('''hello"]
    invalid_code_samples = ["import = 7q"]
    code_page_something = "zip?"
    code_generate_error = "raise"
    code_execute_result = [{"code": "1+2", "result": "3"}]
    code_display_data = [
        {"code": "from IPython.display import HTML, display; display(HTML('<b>t</b>'))", "mime": "text/html"}
    ]
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"


@pytest.mark.slow
@pytest.mark.usefixtures("_installed")
class TestWarm(_Questions, jupyter_kernel_test.KernelTests):
    kernel_name = "nbmlops"

    def test_it_is_warm(self) -> None:
        assert self.km.provisioner.usual == ""


@pytest.mark.slow
@pytest.mark.usefixtures("_installed")
class TestStock(_Questions, jupyter_kernel_test.KernelTests):
    kernel_name = "python3"


# --- the debugger ----------------------------------------------------------------------------------------------------
def test_a_breakpoint_is_hit() -> None:
    one = Kernel([])
    try:
        ask = Debugger(one)
        assert ask(
            "initialize", clientID="c", adapterID="", pathFormat="path", linesStartAt1=True, columnsStartAt1=True
        )["success"]
        assert ask("attach")["success"]
        code = "def f():\n    x = 41\n    y = x + 1\n    return y\nf()\n"
        source = {"path": ask("dumpCell", code=code)["body"]["sourcePath"]}
        found = ask("setBreakpoints", breakpoints=[{"line": 3}], source=source, sourceModified=False)
        assert found["body"]["breakpoints"][0]["verified"]
        assert ask("configurationDone")["success"]
        one.kc.execute(code)
        while True:
            message = one.kc.get_iopub_msg(timeout=30)
            if message["msg_type"] == "debug_event" and message["content"].get("event") == "stopped":
                break
        assert ask("continue", threadId=message["content"]["body"]["threadId"])["success"]
    finally:
        one.close(now=True)


class Debugger:
    """Sends requests of the debug protocol over the control channel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kc, self.seq = kernel.kc, 0

    def __call__(self, command: str, **arguments: Any) -> dict[str, Any]:
        self.seq += 1
        content = {"type": "request", "seq": self.seq, "command": command, "arguments": arguments}
        message = self.kc.session.msg("debug_request", content)
        self.kc.control_channel.send(message)
        while True:
            reply = self.kc.get_control_msg(timeout=30)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return reply["content"]


def test_the_entry_point_is_the_provisioner() -> None:
    import tomllib

    project = Path(spec.__file__).parents[2] / "pyproject.toml"
    points = tomllib.loads(project.read_text())["project"]["entry-points"]["jupyter_client.kernel_provisioners"]
    assert points == {spec.PROVISIONER: spec._HOME.value}

"""The environment: enough to repeat a number, nothing about the person."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from benchmark.engine import environment as module
from benchmark.engine.environment import environment

ROOT = Path(__file__).resolve().parents[1]


def git(folder, *arguments):
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=variables).stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A source tree of its own with one commit, which the module takes for its home."""
    module.code.cache_clear()
    (tmp_path / "benchmark" / "engine").mkdir(parents=True)
    home = tmp_path / "benchmark" / "engine" / "environment.py"
    shutil.copy(module.__file__, home)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "start")
    monkeypatch.setattr(module, "__file__", str(home))
    yield tmp_path
    module.code.cache_clear()


def test_commit_and_dirty_flag_are_those_of_git(checkout):
    found = environment("cpu")
    assert (found["commit"], found["dirty"]) == (git(checkout, "rev-parse", "HEAD"), False)
    (checkout / "new_method.py").write_text("")
    assert environment("cpu")["dirty"] is False  # what runs was there before
    module.code.cache_clear()
    assert environment("cpu")["dirty"] is True


def test_a_repository_further_up_is_not_ours(checkout, monkeypatch):
    installed = checkout / "site-packages" / "benchmark" / "engine" / "environment.py"
    monkeypatch.setattr(module, "__file__", str(installed))
    assert (environment("cpu")["commit"], environment("cpu")["dirty"]) == (None, None)


def test_a_hook_of_another_repository_does_not_mislead(checkout, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(checkout / "elsewhere"))
    assert environment("cpu")["commit"] == git(checkout, "rev-parse", "HEAD")


def test_versions_are_those_installed():
    found = environment("cpu")["versions"]
    assert found["numpy"] == metadata.version("numpy")
    assert {"torch", "transformers", "peft", "sacrebleu", "babel", "tokenizers"} <= set(found)
    assert list(found) == sorted(found)


def test_no_person_host_or_folder_is_named():
    text = json.dumps(environment("cpu"))
    assert str(ROOT) not in text
    assert str(Path.home()) not in text
    assert "/" not in text.replace(environment("cpu")["cpu"], "")
    for name in (socket.gethostname(), getpass.getuser()):
        assert f'"{name}"' not in text


def test_the_device_is_a_type_and_torch_is_not_loaded_for_it():
    code = """
import json, sys
from benchmark.engine.environment import environment
print(json.dumps([environment("cpu:0"), "torch" in sys.modules]))
"""
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found, loaded = json.loads(answer.stdout)
    assert (found["device"], found["threads"], loaded) == ("cpu", None, False)
    assert found["device_name"] == found["cpu"] != ""

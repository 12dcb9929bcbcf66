"""What is handed on to accelerate, and what is refused."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from lessons.errors import InputError
from students.apart.launching import _ELSEWHERE, _TAKEN, Started, command, launch_settings, read_settings
from students.base import Training

FSDP = """
compute_environment: LOCAL_MACHINE
debug: false
distributed_type: FSDP
downcast_bf16: 'no'
enable_cpu_affinity: false
fsdp_config:
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_cpu_ram_efficient_loading: true
  fsdp_offload_params: false
  fsdp_reshard_after_forward: true
  fsdp_state_dict_type: SHARDED_STATE_DICT
  fsdp_version: 2
machine_rank: 0
main_training_function: main
mixed_precision: 'no'
num_machines: 1
num_processes: 2
rdzv_backend: static
same_network: true
tpu_env: []
tpu_use_cluster: false
tpu_use_sudo: false
use_cpu: false
"""
"""As `accelerate config` writes it."""


def training(processes: int = 2, **accelerate: Any) -> Training:
    return Training(num_processes=processes, accelerate=accelerate)


def test_the_file_of_accelerate_config_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "fsdp.yaml").write_text(FSDP)
    read = read_settings(training(config_file="fsdp.yaml"), tmp_path)
    assert "config_file" not in read.accelerate
    assert read.sharded
    assert read.accelerate["fsdp_config"]["fsdp_cpu_ram_efficient_loading"] is True
    whole = launch_settings(read)
    assert whole["num_processes"] == 2
    assert whole["mixed_precision"] == "no"
    from accelerate.commands.config.config_args import ClusterConfig

    (tmp_path / "whole.yaml").write_text(yaml.safe_dump(whole))
    assert ClusterConfig.from_yaml_file(str(tmp_path / "whole.yaml")).fsdp_config["fsdp_version"] == 2


def test_every_key_that_is_known_is_one_of_accelerate() -> None:
    from accelerate.commands.config.config_args import ClusterConfig

    assert {*_TAKEN, *_ELSEWHERE} <= set(ClusterConfig.__dataclass_fields__)


def test_a_short_form_is_completed() -> None:
    whole = launch_settings(training(fsdp_config={"fsdp_offload_params": True}))
    assert whole["distributed_type"] == "FSDP"
    assert whole["fsdp_config"] == {
        "fsdp_version": 2, "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "fsdp_reshard_after_forward": True,
        "fsdp_offload_params": True,
    }  # fmt: skip
    assert launch_settings(training(deepspeed_config={"zero_stage": 3}))["distributed_type"] == "DEEPSPEED"
    assert launch_settings(training())["distributed_type"] == "MULTI_GPU"
    assert not training(gpu_ids="0,1").sharded


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"num_processes": 4}, "train.accelerate.num_processes: is not taken from there; set train.num_processes"),
        ({"mixed_precision": "bf16"}, "set train.precision"),
        ({"num_machines": 2}, "one machine's processes"),
        ({"fsdp": {}}, "'fsdp' is not handed on to accelerate; known: distributed_type, fsdp_config"),
        ({"config_file": "nowhere.yaml"}, "train.accelerate.config_file: .*nowhere.yaml: cannot be read"),
    ],
)
def test_what_contradicts_the_recipe_is_refused(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_settings(training(**given), tmp_path)


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(InputError, match="is not a mapping"):
        read_settings(training(config_file="list.yaml"), tmp_path)
    (tmp_path / "object.yaml").write_text("!!python/object/apply:os.system ['true']\n")
    with pytest.raises(InputError, match="not valid YAML"):
        read_settings(training(config_file="object.yaml"), tmp_path)


def test_what_is_started(tmp_path: Path) -> None:
    alone = command(Training(), tmp_path)
    assert alone[1:4] == ["-m", "students.apart.tied", alone[3]]
    assert alone[4:] == ["students.apart.worker", str(tmp_path)]
    several = command(training(), tmp_path)
    assert several[4] == "accelerate.commands.launch"
    assert several[-2:] == ["students.apart.worker", str(tmp_path)]
    # The user's own default settings are not on record with the run, so they must not decide.
    assert several[several.index("--config_file") + 1] == str(tmp_path / "accelerate.yaml")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"num_processes": 3}, "batch_size must be a multiple of num_processes, got 8 and 3"),
        ({"num_processes": 0}, "batch_size must be a multiple"),
        ({"num_processes": 2, "process": "here"}, "process: here trains in this process alone"),
        ({"checkpoint_minutes": -1.0}, "checkpoint_minutes must be at least 0"),
        ({"silent_minutes": 0.0}, "silent_minutes above 0"),
    ],
)
def test_keys_that_cannot_be(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        msgspec.structs.replace(Training(), **keys)
    with pytest.raises(ValueError, match=said):
        Training(**keys)


def test_what_was_started_is_ended_with_all_of_its_own(tmp_path: Path) -> None:
    """A process that left the group is known by its mark, and another process never is."""
    import subprocess
    import sys

    program = (
        "import subprocess; p = subprocess.Popen(['sleep', '60'], start_new_session=True); "
        "print(p.pid, flush=True); p.wait()"
    )
    stranger = subprocess.Popen(["sleep", "60"])
    started = Started([sys.executable, "-c", program], tmp_path / "log")
    while not (tmp_path / "log").read_text().endswith("\n"):
        assert started.wait(0.05) is None
    started.end()
    assert stranger.poll() is None
    import psutil

    left = int((tmp_path / "log").read_text())
    assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE
    stranger.kill()
    stranger.wait()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600

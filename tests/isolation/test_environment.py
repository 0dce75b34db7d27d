"""What trials start with: waiting threads soon sleep, unless the user has said otherwise; what the user set stays."""

import os
import subprocess
import sys

import pytest

from perftune.isolation.environment import SERVER_ENVIRONMENT, SPINNING, server_environment


def test_what_the_user_has_set_stays() -> None:
    own = {"HOME": "/home/me", "TOKENIZERS_PARALLELISM": "true", "GOMP_SPINCOUNT": "7"}
    assert server_environment(own) == {**own, "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}


def test_threads_that_wait_soon_sleep() -> None:
    assert server_environment({})["GOMP_SPINCOUNT"] == SERVER_ENVIRONMENT["GOMP_SPINCOUNT"] == "3000"


@pytest.mark.parametrize(
    "name",
    ["ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_USE_FSDP", "FSDP_VERSION", "WORLD_SIZE",
     "RANK", "LOCAL_RANK", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS"],
)  # fmt: skip
def test_what_would_stand_in_for_arguments_or_make_a_rank_is_left_out(name: str) -> None:
    assert name not in server_environment({name: "2", "HOME": "/home/me"})
    assert server_environment({name: "2", "HOME": "/home/me"})["HOME"] == "/home/me"


def test_transformers_would_take_the_precision_from_the_shell() -> None:
    """The reason for it, seen in the installed version."""
    source = (
        "from transformers import TrainingArguments as A; a = A('x', use_cpu=True, report_to=[]); "
        "print(a.bf16, a.mixed_precision)"
    )
    shell = {**os.environ, "ACCELERATE_MIXED_PRECISION": "bf16", "PYTHONWARNINGS": "ignore"}
    for environment, said in ((shell, "False bf16"), (server_environment(shell), "False no")):
        done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == said, done.stderr


@pytest.mark.parametrize("policy", ["active", "passive"])
def test_a_policy_of_the_user_is_not_overruled_by_a_count(policy: str) -> None:
    """The count goes before the policy in libgomp."""
    assert "GOMP_SPINCOUNT" not in server_environment({"OMP_WAIT_POLICY": policy})


def test_the_library_takes_it() -> None:
    """OMP_DISPLAY_ENV makes libgomp print what it goes by, when it is loaded."""
    own = {name: value for name, value in os.environ.items() if name not in SPINNING}
    environment = server_environment({**own, "OMP_DISPLAY_ENV": "verbose"})
    told = subprocess.run([sys.executable, "-c", "import torch"], env=environment, capture_output=True, text=True)
    if "GOMP_SPINCOUNT" not in told.stderr:
        pytest.skip("this torch has another OpenMP")
    assert f"GOMP_SPINCOUNT = '{environment['GOMP_SPINCOUNT']}'" in told.stderr

# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Programs of others that say "cuda" run under `torch-remote run` as they are: modules of installed packages, and files
from public repositories.

The files are not part of this project. Where the environment variable TORCH_REMOTE_CUDA_SCRIPTS names a folder with
clones of the repositories that cuda_scripts.sha256 lists, they are checked against it and run; docs/CUDA_SCRIPTS.md has
the commands. A file is copied, so that what it writes beside itself stays out of the clone. Each is started as a user
would start it, with small sizes. What it prints tells whether it has learned.
"""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cuda_script_data as data
import pytest
import torch
from libraries import library
from programs import environment

torchvision = library("torchvision")

CLONES = os.environ.get("TORCH_REMOTE_CUDA_SCRIPTS")
SUMS = Path(__file__).with_name("cuda_scripts.sha256")
TIMEOUT_S = 280

# What libraries.py does in this process, for those that a test starts: see there.
_SCHEMAS = """
import torch
library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def run(words: list[str], folder: Path, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Starts Python in a folder; paths are where it looks for modules."""
    if hasattr(torchvision, "_schemas_of_missing_operators"):
        site = folder / "site"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(_SCHEMAS)
        paths = (site, *paths)
    known = environment()["PYTHONPATH"]
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment(
            PYTHONPATH=os.pathsep.join([*map(str, paths), known]),
            HF_HOME=str(folder / "huggingface"),
            OMP_NUM_THREADS="2",
            TQDM_DISABLE="1",
            # word_language_model is older than torch.load's weights_only, and loads a whole model.
            TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1",
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@dataclass(frozen=True)
class Script:
    """A program, its words, the data that it expects, and what shows that it has worked."""

    name: str
    #: Below the folder of clones; or a module's name, as `python -m` takes it.
    file: str
    words: str
    prepare: Callable[[Path], None]
    check: Callable[[str, Path], None]
    #: Without a GPU it ends with an error that has this text; None where it would then run on CPU.
    without: str | None = None
    gpu: str = "T4"

    @property
    def is_module(self) -> bool:
        return not self.file.endswith(".py")


def _numbers(pattern: str, output: str) -> list[float]:
    return [float(number) for number in re.findall(pattern, output)]


def _falls(pattern: str, least: int = 2) -> Callable[[str, Path], None]:
    """The last of the losses that it prints is below the first."""

    def check(output: str, _: Path) -> None:
        losses = _numbers(pattern, output)
        assert len(losses) >= least, output
        assert losses[-1] < losses[0], losses

    return check


def _rises(pattern: str) -> Callable[[str, Path], None]:
    """The mean of the second half of what it prints is above that of the first."""

    def check(output: str, _: Path) -> None:
        values = _numbers(pattern, output)
        half = len(values) // 2
        assert half >= 2, output
        assert sum(values[-half:]) > sum(values[:half]), values

    return check


def _reaches(pattern: str, at_least: float) -> Callable[[str, Path], None]:
    def check(output: str, _: Path) -> None:
        assert _numbers(pattern, output)[-1] >= at_least, output

    return check


def _mnist(folder: Path) -> None:
    data.write_mnist(folder.parent / "data")


def _mnist_here(folder: Path) -> None:
    (folder / "results").mkdir()
    data.write_mnist(folder / "data")


def _check_dcgan(output: str, folder: Path) -> None:
    assert "Loss_D" in output
    assert (folder / "fake_samples_epoch_000.png").stat().st_size > 1000


def _check_vae(output: str, folder: Path) -> None:
    _falls(r"Average loss: ([\d.]+)")(output, folder)
    assert (folder / "results" / "sample_2.png").stat().st_size > 1000


def _check_nanogpt(output: str, folder: Path) -> None:
    _falls(r"iter \d+: loss ([\d.]+)")(output, folder)
    assert (folder / "out-shakespeare-char" / "ckpt.pt").stat().st_size > 1000


def _check_validate(output: str, folder: Path) -> None:
    assert "Acc@1" in output
    assert (folder / "out.csv").read_text().splitlines()[1].startswith("test_vit,")


def _imagenet(folder: Path) -> None:
    data.write_images(folder / "imagenet" / "train")
    data.write_images(folder / "imagenet" / "val", per_class=2)


LOSS = r"Loss: ([\d.]+)"
EXAMPLES = [
    Script("mnist", "examples/mnist/main.py", "--epochs 2 --log-interval 1", _mnist, _falls(LOSS)),
    Script(
        "mnist_rnn",
        "examples/mnist_rnn/main.py",
        "--cuda --epochs 2 --log-interval 1 --lr 1",
        _mnist,
        _falls(LOSS),
        without="Torch not compiled with CUDA enabled",
    ),
    Script(
        "vae", "examples/vae/main.py", "--epochs 2", lambda folder: _prepare_vae(folder), _check_vae
    ),
    Script(
        "siamese_network",
        "examples/siamese_network/main.py",
        "--epochs 1 --log-interval 1 --dry-run --batch-size 16 --test-batch-size 16",
        _mnist,
        _reaches(r"Accuracy: (\d+)/", 1),
    ),
    Script(
        "dcgan",
        "examples/dcgan/main.py",
        "--dataset fake --cuda --dry-run --batchSize 8 --ngf 8 --ndf 8 --workers 0",
        lambda _: None,
        _check_dcgan,
        without="Torch not compiled with CUDA enabled",
    ),
    Script(
        "word_language_model",
        "examples/word_language_model/main.py",
        "--cuda --epochs 2 --emsize 32 --nhid 32 --batch_size 8 --data words --lr 2",
        lambda folder: data.write_words(folder / "words"),
        _falls(r"valid loss\s+([\d.]+)"),
        without="Torch not compiled with CUDA enabled",
    ),
    Script(
        "word_language_model_transformer",
        "examples/word_language_model/main.py",
        "--cuda --epochs 2 --model Transformer --emsize 32 --nhid 32 --batch_size 8 --data words --lr 1",
        lambda folder: data.write_words(folder / "words"),
        _falls(r"valid loss\s+([\d.]+)"),
        gpu="A100-80GB",
    ),
    Script(
        "mnist_forward_forward",
        "examples/mnist_forward_forward/main.py",
        "--epochs 20 --train_size 256 --test_size 64 --log-interval 5",
        _mnist_here,
        lambda output, _: _check_forward_forward(output),
    ),
    Script(
        "imagenet",
        "examples/imagenet/main.py",
        "-a mobilenet_v2 --epochs 1 -b 4 -j 1 -p 1 --lr 0.01 imagenet",
        _imagenet,
        _reaches(r"\* +Acc@1 ([\d.]+)", 0),
    ),
    Script(
        "nanoGPT",
        "nanoGPT/train.py",
        "config/train_shakespeare_char.py --compile=False --eval_iters=2 --eval_interval=10 --log_interval=1 "
        "--block_size=16 --batch_size=4 --n_layer=2 --n_head=2 --n_embd=32 --max_iters=10 --warmup_iters=2",
        lambda folder: data.write_characters(folder / "data" / "shakespeare_char"),
        _check_nanogpt,
        without="Torch not compiled with CUDA enabled",
        gpu="A100-80GB",
    ),
    Script(
        "minGPT",
        "minGPT/projects/chargpt/chargpt.py",
        "--model.model_type=gpt-nano --data.block_size=16 --trainer.max_iters=21 --trainer.batch_size=8 "
        "--trainer.num_workers=0",
        lambda folder: data.write_text(folder / "input.txt"),
        _falls(r"train loss ([\d.]+)"),
    ),
    Script(
        "timm",
        "pytorch-image-models/validate.py",
        "images --model test_vit --num-classes 2 -b 4 -j 1 --amp --checkpoint weights.pth --results-file out.csv",
        lambda folder: _prepare_validate(folder),
        _check_validate,
        without="Torch not compiled with CUDA enabled",
    ),
    Script(
        "Fabric",
        "pytorch-lightning/examples/fabric/image_classifier/train_fabric.py",
        "--epochs 1 --log-interval 1",
        lambda folder: data.write_mnist(folder.parents[2] / "Datasets"),
        _falls(LOSS),
    ),
    Script(
        "Lightning",
        "pytorch-lightning/examples/pytorch/bug_report/bug_report_model.py",
        "",
        lambda _: None,
        lambda output, _: _check_lightning(output),
    ),
    # Trainer of transformers, in bfloat16.
    Script(
        "transformers_fine_tuning",
        "trl.scripts.sft",
        "--model_name_or_path model --dataset_name data --output_dir out --report_to none "
        "--max_steps 8 --logging_steps 1 --learning_rate 1e-2 --per_device_train_batch_size 4",
        lambda folder: _prepare_fine_tuning(folder),
        lambda output, folder: _check_fine_tuning(output, folder),
        gpu="A100-80GB",
    ),
    # generate of transformers, and training by what a function says of the texts.
    Script(
        "transformers_generation",
        "trl.scripts.grpo",
        "--model_name_or_path model --dataset_name data --output_dir out --report_to none --bf16 False "
        "--max_steps 8 --logging_steps 1 --learning_rate 3e-2 --per_device_train_batch_size 8 "
        "--num_generations 8 --max_completion_length 6 --reward_funcs rewards.short_words",
        lambda folder: _prepare_generation(folder),
        _rises(r"'reward': '([\d.]+)'"),
    ),
]


def _prepare_vae(folder: Path) -> None:
    (folder / "results").mkdir()
    _mnist(folder)


def _prepare_validate(folder: Path) -> None:
    data.write_images(folder / "images")
    torch.manual_seed(0)
    model = library("timm").create_model("test_vit", num_classes=2)
    torch.save(model.state_dict(), folder / "weights.pth")


def _prepare_fine_tuning(folder: Path) -> None:
    library("trl")
    data.write_language_model(folder / "model")
    data.write_texts(folder / "data")


def _prepare_generation(folder: Path) -> None:
    library("trl")
    data.write_language_model(folder / "model")
    data.write_prompts(folder / "data")
    (folder / "rewards.py").write_text(_REWARDS)


_REWARDS = """
def short_words(completions, **_):
    texts = [text.split() for text in completions]
    return [sum(len(word) < 4 for word in words) / max(len(words), 1) for words in texts]
"""


def _check_fine_tuning(output: str, folder: Path) -> None:
    _falls(r"'loss': '([\d.]+)'")(output, folder)
    model = library("transformers").AutoModelForCausalLM.from_pretrained(folder / "out")
    assert all(weight.isfinite().all() for weight in model.state_dict().values())


def _check_forward_forward(output: str) -> None:
    error = _numbers(r"test error: ([\d.]+)", output.lower())
    assert error, output


def _check_lightning(output: str) -> None:
    assert "GPU available: True (cuda), used: True" in output
    assert "test_loss" in output


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a script's copy, or where a module is run, with its data."""
    script: Script = request.getfixturevalue("script")
    if script.is_module:
        where = tmp_path
    else:
        copy_originals(Path(script.file).parts[0], tmp_path)
        where = (tmp_path / script.file).parent
    script.prepare(where)
    return where


def copy_originals(project: str, target: Path) -> None:
    """Copies a project's listed files, which have to be as their authors wrote them."""
    if CLONES is None:
        pytest.skip("TORCH_REMOTE_CUDA_SCRIPTS names no folder with the programs' repositories")
    listed = [
        line.split("  ") for line in SUMS.read_text().splitlines() if not line.startswith("#")
    ]
    for sum_, name in listed:
        if Path(name).parts[0] != project:
            continue
        original = Path(CLONES, name).read_bytes()
        assert hashlib.sha256(original).hexdigest() == sum_, f"{name} is not the one listed"
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(original)


def words_of(script: Script) -> list[str]:
    program = ["-m", script.file] if script.is_module else [Path(script.file).name]
    return [*program, *script.words.split()]


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.name)
def test_runs_unmodified(script: Script, folder: Path) -> None:
    command = ["-m", "torch_remote.cli", "run", "--gpu", script.gpu]
    done = run([*command, *words_of(script)], folder, folder.parents[1])
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-4000:]
    script.check(output, folder)
    # It is where it was told to be, not on CPU.
    (operations,) = _numbers(r"(?m)^torch-remote: .*: ([\d,]+) operations", output.replace(",", ""))
    assert operations > 20, output[-1000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", [one for one in EXAMPLES if one.without], ids=lambda script: script.name
)
def test_fails_without(script: Script, folder: Path) -> None:
    done = run(words_of(script), folder)
    assert done.returncode == 1
    assert script.without is not None
    assert script.without in done.stderr

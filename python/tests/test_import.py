# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Importing the package: quietly, twice, with the names that it promises."""

import ast
import importlib
import re
from pathlib import Path

import torch
import torch_remote
from programs import output_of
from torch_remote import _C

PACKAGE = Path(torch_remote.__file__).parent


def stub_names(module: str) -> set[str]:
    tree = ast.parse((PACKAGE / f"{module}.pyi").read_text())
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def test_import_is_quiet() -> None:
    assert output_of("import torch, torch_remote", options=("-W", "error")) == ""


def test_import_before_torch() -> None:
    program = (
        "import torch_remote, torch; print(torch.device('remote', 0), torch.remote.device_count())"
    )
    assert output_of(program, options=("-W", "error")) == "remote:0 0"


def test_importing_again_changes_nothing() -> None:
    program = """
        import sys
        import torch
        import torch_remote
        module, refusing = torch.remote, torch.Tensor.__dlpack__
        import torch_remote
        torch_remote.ensure_loaded()
        del sys.modules["torch_remote"]
        import torch_remote
        assert torch.remote is module
        assert torch.Tensor.__dlpack__ is refusing
        print(torch.ones(3, device=torch_remote.emulate("T4")).sum().item())
    """
    assert output_of(program, options=("-W", "error")) == "3.0"


def test_a_first_training_step_does_not_load_pytorchs_compiler() -> None:
    """Its import takes a second; PyTorch's Python functions for shapes bring it."""
    program = """
        import sys, torch, torch_remote
        device = torch_remote.emulate("T4")
        x, y = torch.randn(4, 8, device=device), torch.randint(3, (4,), device=device)
        model = torch.nn.Sequential(
            torch.nn.Linear(8, 8), torch.nn.LayerNorm(8), torch.nn.ReLU(), torch.nn.Dropout(),
            torch.nn.Linear(8, 3),
        ).to(device)
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
        assert loss.item() > 0
        try:
            x.new_empty(7).normal_(0, -1)
        except RuntimeError as error:
            print(error)
        print("torch._dynamo" in sys.modules)
    """
    told = output_of(program).splitlines()
    assert "normal expects std >= 0.0, but found std -1" in told
    assert told[-1] == "False"


def test_public_names_exist() -> None:
    assert {"GPU_TYPES", "connect", "emulate", "machine", "machines", "stats"} <= set(
        torch_remote.__all__
    )
    assert [name for name in torch_remote.__all__ if not hasattr(torch_remote, name)] == []
    assert len(set(torch_remote.__all__)) == len(torch_remote.__all__)


def test_public_functions_have_docs() -> None:
    public = [getattr(torch_remote, name) for name in torch_remote.__all__]
    assert [thing.__name__ for thing in public if callable(thing) and not thing.__doc__] == []


def test_registered_as_a_module_of_torch() -> None:
    assert torch.get_device_module("remote") is importlib.import_module("torch_remote.remote")
    assert torch._C._get_privateuse1_backend_name() == "remote"


def test_stub_of_the_extension_has_exactly_its_names() -> None:
    names = {name for name in vars(_C) if not name.startswith("__") or name == "__version__"}
    assert stub_names("_C") == names


def test_stub_of_the_extension_has_exactly_its_parameters() -> None:
    # pybind11 writes the signature into the first line of the docstring.
    tree = ast.parse((PACKAGE / "_C.pyi").read_text())
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        signature = getattr(_C, node.name).__doc__.splitlines()[0]
        text = signature.split(" -> ")[0].removeprefix(node.name)
        parameters = re.findall(r"(?:^|, )(\w+):", text.strip("()"))
        assert parameters == [argument.arg for argument in node.args.args], node.name


def test_the_page_of_the_device_names_tests_that_exist() -> None:
    page = (PACKAGE.parents[1] / "docs" / "DEVICE.md").read_text()
    named = set(re.findall(r"test_\w+\.py", page))
    assert len(named) > 20
    assert sorted(name for name in named if not (Path(__file__).parent / name).exists()) == []


def test_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_version_is_the_extensions() -> None:
    # A tree that was never installed has no version.
    assert torch_remote.__version__ in ("0.0.0", _C.__version__)

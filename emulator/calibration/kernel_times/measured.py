# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Measured durations: recordings of measure_gpu.py and published tables."""

import csv
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent
PUBLISHED = FOLDER / "published"
RECORDINGS = FOLDER / "measurements"
# Cards of the published tables that are not emulated, but say something about one that is.
RELATED = {"A100-PCIe-40GB": "A100-40GB", "A100-PCIe-80GB": "A100-80GB"}


@dataclass(frozen=True)
class Card:
    """A GPU by its emulated type, with the data sheet's values that are others on this card."""

    name: str
    like: str
    changes: dict[str, float] = field(default_factory=dict, hash=False, compare=False)

    @property
    def emulated(self) -> str:
        """The emulated type that it counts as when one is left out; its own name if it is none."""
        return RELATED.get(self.name, self.name)


@dataclass(frozen=True)
class Settings:
    """What else decides about kernels."""

    cache: str = "repeated"
    tf32_products: bool = False
    tf32_convolutions: bool = True


@dataclass(frozen=True)
class Sample:
    """One measured duration of the work that `key` names (see captured.py)."""

    source: str
    group: str
    key: tuple[Any, ...]
    card: Card
    us: float
    settings: Settings = Settings()


def cards() -> dict[str, Card]:
    """Those of published/gpus.csv by name."""
    with (PUBLISHED / "gpus.csv").open() as file:
        return {
            row["gpu"]: Card(
                row["gpu"],
                row["like"],
                {name: float(text) for name, text in row.items() if name not in ("gpu", "like")},
            )
            for row in csv.DictReader(file)
        }


def card(name: str) -> Card:
    return cards().get(name) or Card(name, name)


def recordings() -> dict[str, Path]:
    """Archives of measure_gpu.py by the GPU's type."""
    return {path.name.split("-")[0].upper(): path for path in sorted(RECORDINGS.glob("*.tar.xz"))}


def records(path: Path, section: str) -> Iterator[dict[str, Any]]:
    """The records of a section's files."""
    with tarfile.open(path) as archive:
        for member in sorted(archive.getnames()):
            name = Path(member).name
            if not (name.startswith(section) and name.endswith(".jsonl")):
                continue
            file = archive.extractfile(member)
            assert file is not None
            for line in file:
                yield json.loads(line)


def recorded_kernels() -> list[Sample]:
    """Durations of single calls, by CUPTI, with their inputs in the L2 cache or, cold, not."""
    samples = []
    for gpu, path in recordings().items():
        for record in records(path, "time"):
            if record["kind"] != "time" or record["group"] == "copies" or not record["gpu_us"]:
                continue
            parameters = record["parameters"]
            if names_another_kernel(record["group"], parameters):
                continue
            is_cold = bool(record.get("cold"))
            tf32 = parameters.get("dtype") == "tf32"
            samples.append(
                Sample(
                    "recorded",
                    f"{record['group']}: {record['name']}",
                    ("item", record["group"], record["name"], json.dumps(parameters), is_cold),
                    card(gpu),
                    record["gpu_us"],
                    Settings("cold" if is_cold else "repeated", tf32, tf32),
                )
            )
    return samples


def names_another_kernel(group: str, parameters: dict[str, Any]) -> bool:
    """Whether the record is of a kernel that a program on the device can't choose."""
    return (
        group == "attention"
        and parameters["backend"] in ("FLASH_ATTENTION", "EFFICIENT_ATTENTION")
        and parameters["dtype"] != "float32"
    )


def published_kernels() -> list[Sample]:
    """NeuSight's operators: the fastest fifth of 25 calls, between events, float32 without TF32."""
    with (PUBLISHED / "neusight_operators.csv").open() as file:
        return [
            Sample(
                "NeuSight",
                f"NeuSight: {row['operator']}",
                ("operator", row["operator"], *map(int, row["sizes"].split("x"))),
                card(row["gpu"]),
                float(row["us"]),
            )
            for row in csv.DictReader(file)
        ]


def square_products() -> list[Sample]:
    """Square matrix products, 30 in a row; "best" is the best rate of the five sizes."""
    samples = []
    with (PUBLISHED / "square_products.csv").open() as file:
        for row in csv.DictReader(file):
            size = 10240 if row["size"] == "best" else int(row["size"])
            us = 2 * size**3 / (float(row["tflops"]) * 1e6)
            settings = Settings("repeated", row["dtype"] == "tf32", False)
            key = ("best product" if row["size"] == "best" else "product", row["dtype"], size)
            samples.append(
                Sample("square products", "square products", key, card(row["gpu"]), us, settings)
            )
    return samples


def published_models() -> list[Sample]:
    """NeuSight's whole models: forward, or forward and backward, float32 without TF32."""
    with (PUBLISHED / "neusight_models.csv").open() as file:
        return [
            Sample(
                "models",
                f"{row['model']} {row['mode']}",
                ("model", row["model"], row["mode"], int(row["length"]), int(row["batch"])),
                card(row["gpu"]),
                float(row["ms"]) * 1e3,
                Settings("program", False, False),
            )
            for row in csv.DictReader(file)
        ]


def recorded_steps() -> list[Sample]:
    """Kernels of whole steps, without the copies between host and GPU, which are no kernels."""
    samples = []
    for gpu, path in recordings().items():
        names = {}
        for record in records(path, "steps"):
            if record["kind"] == "text":
                names[record["number"]] = record["text"]
            if record["kind"] != "step_kernels":
                continue
            copies_us = sum(
                us for number, _, us in record["kernels"] if is_host_copy(names[number])
            )
            samples.append(
                Sample(
                    "steps",
                    record["program"],
                    ("program", record["program"]),
                    card(gpu),
                    record["gpu_ms"] * 1e3 - copies_us,
                    Settings("program"),
                )
            )
    return samples


def is_host_copy(kernel_name: str) -> bool:
    return kernel_name.startswith(("Memcpy HtoD", "Memcpy DtoH"))


def kernels_to_fit() -> list[Sample]:
    """Single kernels, none of them of the models and programs that the model is judged by."""
    return [*recorded_kernels(), *published_kernels(), *square_products()]

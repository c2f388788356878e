# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Data files in the formats that programs expect which would download them: small, and the same each time."""

import json
import struct
from pathlib import Path

import numpy as np
import torch
from libraries import library
from PIL import Image
from sklearn.datasets import load_digits

_SENTENCES = (
    "the quick brown fox jumps over the lazy dog .",
    "a remote device keeps its tensors somewhere else .",
    "who reads a value waits for it .",
)


def write_mnist(folder: Path, train: int = 512, test: int = 128) -> None:
    """MNIST's idx files with scikit-learn's digits, 8 x 8 made 28 x 28."""
    digits = load_digits()
    images = np.zeros((len(digits.images), 28, 28), np.uint8)
    images[:, 2:26, 2:26] = np.kron(digits.images, np.ones((3, 3))) * (255 / 16)
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, part in (("train", slice(0, train)), ("t10k", slice(train, train + test))):
        _write_idx(raw / f"{name}-images-idx3-ubyte", images[part])
        _write_idx(raw / f"{name}-labels-idx1-ubyte", digits.target[part].astype(np.uint8))


def _write_idx(path: Path, values: np.ndarray) -> None:
    """Magic number: 8 for bytes, then the number of dimensions; sizes and all that follows are big-endian."""
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(struct.pack(">HBB", 0, 8, values.ndim) + sizes + values.tobytes())


def write_images(folder: Path, per_class: int = 4, size: int = 64) -> None:
    """A folder for each class, as torchvision's ImageFolder reads them: one is dark, one is bright."""
    random = np.random.default_rng(0)
    for number, name in enumerate(("dark", "bright")):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            pixels = random.integers(128 * number, 128 * number + 128, (size, size, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


def write_words(folder: Path) -> None:
    """The three files of a corpus of words, as word_language_model reads them."""
    folder.mkdir(parents=True)
    for name, repeats in (("train", 40), ("valid", 8), ("test", 8)):
        (folder / f"{name}.txt").write_text("\n".join(_SENTENCES * repeats) + "\n")


def write_characters(folder: Path) -> None:
    """nanoGPT's train.bin and val.bin: 16-bit numbers of characters."""
    folder.mkdir(parents=True, exist_ok=True)
    text = " ".join(_SENTENCES * 40)
    characters = sorted(set(text))
    numbers = np.array([characters.index(one) for one in text], np.uint16)
    numbers[: len(numbers) * 9 // 10].tofile(folder / "train.bin")
    numbers[len(numbers) * 9 // 10 :].tofile(folder / "val.bin")


def write_text(path: Path) -> None:
    """One text, with all characters of chargpt's prompt in it."""
    path.write_text("O God, O God!\n" + "\n".join(_SENTENCES * 20))


def write_language_model(folder: Path) -> None:
    """A tiny Llama with random weights and the tokenizer of its words, as from_pretrained reads them."""
    tokenizers, transformers = library("tokenizers"), library("transformers")
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    words = [*special.values(), *sorted(set(" ".join(_SENTENCES).split()))]
    numbers = {word: number for number, word in enumerate(words)}
    text = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token="<unk>"))
    text.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=text, **special).save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


def write_texts(folder: Path) -> None:
    """A data set of whole sentences."""
    _write_rows(folder, [{"text": sentence} for sentence in _SENTENCES * 16])


def write_prompts(folder: Path) -> None:
    """A data set of sentences' beginnings."""
    _write_rows(folder, [{"prompt": " ".join(one.split()[:3])} for one in _SENTENCES * 16])


def _write_rows(folder: Path, rows: list[dict[str, str]]) -> None:
    """As datasets.load_dataset reads them: a line of JSON each, in the file named after the split."""
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

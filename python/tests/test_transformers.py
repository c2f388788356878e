# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models of transformers, tiny and with random weights, do what they do on CPU, bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import Counting, assert_same, to_device
from libraries import Comparison, HostReads, library

transformers = library("transformers")

IDS = torch.randint(3, 99, (2, 9), generator=torch.Generator().manual_seed(0))
MASK = torch.ones(2, 9, dtype=torch.long)
MASK[1, 6:] = 0
TARGETS = IDS[:, :5].contiguous()
CLASSES = torch.tensor([0, 2])
IMAGES = torch.randn(2, 3, 16, 16)
SOUND = torch.randn(2, 8, 40)
LANGUAGE = {"input_ids": IDS, "attention_mask": MASK, "labels": IDS}
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 16,
    "patch_size": 4,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
TEXT = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
GROUPED = TEXT | {"num_key_value_heads": 2}
# A dropout's factor is rounded elsewhere by the operators of accelerators than by those of CPU.
BERT = TEXT | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
GPT2 = {
    "vocab_size": 99,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
T5 = {
    "vocab_size": 99,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "dropout_rate": 0.0,
    "decoder_start_token_id": 0,
}
WHISPER = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "num_mel_bins": 8,
    "max_source_positions": 20,
    "max_target_positions": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "dropout": 0.0,
}


# Family -> configuration, model and inputs. How many round trips a training step makes is the
# library's doing: it looks whether an attention mask has any gaps.
Family = tuple[str, str, dict[str, Any], dict[str, Any], int]
FAMILIES: dict[str, Family] = {
    "bert_masked": ("BertConfig", "BertForMaskedLM", BERT, LANGUAGE, 1),
    "bert_classes": (
        "BertConfig",
        "BertForSequenceClassification",
        BERT | {"num_labels": 3},
        {"input_ids": IDS, "attention_mask": MASK, "labels": CLASSES},
        1,
    ),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", GPT2, LANGUAGE, 2),
    "llama": ("LlamaConfig", "LlamaForCausalLM", GROUPED, LANGUAGE, 2),
    "llama_unmasked": (
        "LlamaConfig",
        "LlamaForCausalLM",
        GROUPED,
        {"input_ids": IDS, "labels": IDS},
        0,
    ),
    "mistral": (
        "MistralConfig",
        "MistralForCausalLM",
        GROUPED | {"sliding_window": 4},
        LANGUAGE,
        0,
    ),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", GROUPED, LANGUAGE, 2),
    "mixtral": (
        "MixtralConfig",
        "MixtralForCausalLM",
        GROUPED | {"num_local_experts": 4, "output_router_logits": True},
        LANGUAGE,
        2,
    ),
    "mamba": (
        "MambaConfig",
        "MambaForCausalLM",
        {"vocab_size": 99, "hidden_size": 32, "state_size": 4, "num_hidden_layers": 2},
        {"input_ids": IDS, "labels": IDS},
        0,
    ),
    "t5": (
        "T5Config",
        "T5ForConditionalGeneration",
        T5,
        {"input_ids": IDS, "attention_mask": MASK, "labels": TARGETS},
        2,
    ),
    "vit": (
        "ViTConfig",
        "ViTForImageClassification",
        VISION | {"num_labels": 3},
        {"pixel_values": IMAGES, "labels": CLASSES},
        0,
    ),
    "whisper": (
        "WhisperConfig",
        "WhisperForConditionalGeneration",
        WHISPER,
        {"input_features": SOUND, "labels": TARGETS},
        0,
    ),
    "clip": (
        "CLIPConfig",
        "CLIPModel",
        {
            "text_config": TEXT | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
            "vision_config": VISION,
            "projection_dim": 16,
        },
        {
            "input_ids": IDS,
            "attention_mask": MASK,
            "pixel_values": IMAGES,
            "return_loss": True,
        },
        2,
    ),
}
WITH_EAGER_ATTENTION = ["bert_masked", "gpt2", "llama", "vit", "whisper"]


def made(name: str, **more: Any) -> torch.nn.Module:
    """A model of a family with weights that are always the same."""
    config, model, options, _, _ = FAMILIES[name]
    torch.manual_seed(0)
    built: torch.nn.Module = getattr(transformers, model)(
        getattr(transformers, config)(**options, **more)
    )
    return built


def step(model: torch.nn.Module, inputs: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    output = model(**inputs)
    return output.loss, [output.loss]


@pytest.mark.parametrize("name", FAMILIES)
def test_bits(emulator: torch.device, name: str) -> None:
    *_, inputs, round_trips = FAMILIES[name]
    comparison = Comparison(made(name), inputs, emulator)
    comparison.inference(lambda model, inputs: model(**inputs))
    comparison.training(step, round_trips=round_trips)


@pytest.mark.parametrize("name", WITH_EAGER_ATTENTION)
def test_bits_of_eager_attention(emulator: torch.device, name: str) -> None:
    comparison = Comparison(made(name, attn_implementation="eager"), FAMILIES[name][3], emulator)
    comparison.inference(lambda model, inputs: model(**inputs, output_attentions=True))
    comparison.training(step, round_trips=1 if name == "bert_masked" else 0)


def test_bits_over_tcp(tcp: torch.device) -> None:
    comparison = Comparison(made("llama"), LANGUAGE, tcp)
    comparison.inference(lambda model, inputs: model(**inputs))
    comparison.training(step, round_trips=2)


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated")
def test_bits_with_checkpointed_activations(emulator: torch.device) -> None:
    """Without a cache, transformers looks whether the positions are of several packed sequences.

    Each of the two layers keeps the device's random state in the forward and the backward.
    """
    model: Any = made("llama_unmasked", use_cache=False)
    model.gradient_checkpointing_enable()
    inputs = FAMILIES["llama_unmasked"][3]
    comparison = Comparison(model, inputs, emulator)
    comparison.training(step, round_trips=1 + 2 * 2)
    with HostReads(emulator) as reads, Counting(emulator) as counted:
        comparison.remote(**comparison.remote_inputs).loss.backward()
    assert counted.round_trips == 1 + 2 * 2
    assert sum(reads.where.values()) == 1
    assert all(line.startswith("transformers/masking_utils.py:") for line in reads.where)


def test_bits_in_bfloat16(emulator: torch.device) -> None:
    comparison = Comparison(made("llama").bfloat16(), LANGUAGE, emulator)
    comparison.inference(lambda model, inputs: model(**inputs))
    comparison.training(step, round_trips=2)


def test_only_the_library_reads(emulator: torch.device) -> None:
    """Each round trip of a step is a line of transformers that would wait for CUDA as well."""
    model = made("llama").to(emulator)
    inputs = to_device(LANGUAGE, emulator)
    with HostReads(emulator) as reads, Counting(emulator) as counted:
        model(**inputs).loss.backward()
    assert counted.round_trips == sum(reads.where.values()) == 2
    assert all(line.startswith("transformers/masking_utils.py:") for line in reads.where)


# ---- generation ----

LENGTH = {"max_new_tokens": 8, "min_new_tokens": 8, "pad_token_id": 0}
PROMPT = {"input_ids": IDS, "attention_mask": MASK}
METHODS: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True, "top_k": 20, "top_p": 0.9, "temperature": 0.8},
    "beams": {"do_sample": False, "num_beams": 3},
}
LLAMA_METHODS: dict[str, dict[str, Any]] = {
    "static_cache": {"do_sample": False, "cache_implementation": "static"},
    "no_cache": {"do_sample": False, "use_cache": False},
    "sampled_beams": {"do_sample": True, "num_beams": 3},
    "processors": {"do_sample": False, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    "scores": {"do_sample": False, "output_scores": True, "return_dict_in_generate": True},
}
GENERATORS: dict[str, dict[str, Any]] = {
    "llama": PROMPT,
    "gpt2": PROMPT,
    "mistral": PROMPT,
    "mamba": {"input_ids": IDS},
    "t5": PROMPT,
    "whisper": {"input_features": SOUND},
}
CASES = [(name, method) for name in GENERATORS for method in METHODS]
CASES += [("llama", method) for method in LLAMA_METHODS]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_generation(draws_as_cpu: torch.device, name: str, method: str) -> None:
    """The same tokens, drawn ones too: an executor that emulates nothing gives CPU's numbers for a seed."""
    options = LENGTH | (METHODS | LLAMA_METHODS)[method]
    comparison = Comparison(made(name).eval(), GENERATORS[name], draws_as_cpu)

    def generated(model: Any, inputs: Any) -> Any:
        torch.manual_seed(5)
        return model.generate(**inputs, **options)

    expected = generated(comparison.local, comparison.inputs)
    actual = generated(comparison.remote, comparison.remote_inputs)
    if method == "scores":
        assert_same(actual.scores, expected.scores)
        actual, expected = actual.sequences, expected.sequences
    assert actual.device == draws_as_cpu
    assert_same(actual, expected)
    assert actual.shape[1] >= LENGTH["max_new_tokens"]


def test_generation_reads_once_a_token(emulator: torch.device) -> None:
    """Whether all sequences have ended, which CUDA has to wait for as well."""
    model: Any = made("llama").to(emulator).eval()
    prompt = IDS.to(emulator)
    counts = []
    for length in (8, 8, 16):
        with Counting(emulator) as counted:
            model.generate(prompt, **LENGTH | {"max_new_tokens": length, "min_new_tokens": length})
        counts.append(counted.round_trips)
    assert counts[2] - counts[1] == 8


# ---- saving and loading ----


def test_saved_and_loaded(emulator: torch.device, tmp_path: Path) -> None:
    model: Any = made("gpt2").to(emulator).eval()
    model.save_pretrained(tmp_path)
    loaded = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    assert_same(loaded.state_dict(), model.state_dict())
    there = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, device_map={"": emulator})
    assert all(parameter.device == emulator for parameter in there.parameters())
    assert there.lm_head.weight is there.transformer.wte.weight
    inputs = to_device(PROMPT, emulator)
    assert_same(there(**inputs).logits, model(**inputs).logits)


def test_pipeline(emulator: torch.device) -> None:
    tokenizers = library("tokenizers")
    words = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *"abcdefgh"])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )

    def texts(where: torch.device | str) -> Any:
        pipeline = transformers.pipeline(
            "text-generation", model=made("gpt2"), tokenizer=tokenizer, device=where
        )
        assert pipeline.device == torch.device(where)
        assert pipeline.model.device == torch.device(where)
        return pipeline(["a b c", "d e"], max_new_tokens=6, do_sample=False, batch_size=2)

    assert texts(emulator) == texts("cpu")


# ---- dropout ----


def test_dropout_leaves_out_the_same(draws_as_cpu: torch.device) -> None:
    """Its factor is rounded at another place than on CPU, so the bits are only nearly the same."""
    losses = []
    for where in ("cpu", draws_as_cpu):
        torch.manual_seed(0)
        options = BERT | {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3}
        model = transformers.BertForMaskedLM(
            transformers.BertConfig(**options, attn_implementation="eager")
        ).to(where)
        torch.manual_seed(1)
        losses.append(model(**to_device(LANGUAGE, where)).loss)
    torch.testing.assert_close(losses[1].cpu(), losses[0])

"""A telephone and a gateway against what others measured on them: tokens per second of one user, in four bits.

The telephone's efficiencies are set by its vendor's figures for a model of 8B (Qualcomm's card of SEA-LION v3.5 8B:
12.9 tokens/s, 128 tokens of prompt in 159 ms); 1B and 3B are predictions. Embedding and head have sixteen bits here,
where the measured programs store them in four to eight.
"""

from __future__ import annotations

import pytest
from deploying import deployed

PHONE, GATEWAY = "qualcomm-snapdragon-8-elite", "nvidia-jetson-orin-nano-super"
#: What the telephone's programs compute in (ExecuTorch's 8da4w, llama.cpp's Q4_0 on the NPU).
ON_PHONE = {"weights": "int4", "activations": "int8"}


@pytest.mark.parametrize(
    ("hardware", "model", "precision", "lowest", "highest"),
    [
        (PHONE, "llama-3.1-8b", ON_PHONE, 11.6, 14.2),  # Qualcomm: 12.9, ± 10 %
        # ExecuTorch on the chip before (OnePlus 12): 50.2; llama.cpp on this NPU (v79): 51.5.
        (PHONE, "llama-3.2-1b", ON_PHONE, 46.0, 57.0),
        # ExecuTorch on the chip before: 19.7; on a Galaxy S25 Ultra's NPU (huggingface.co/Eternalgrey): 20 to 30.
        (PHONE, "llama-3.2-3b", ON_PHONE, 19.7, 30.0),
        # Ollama at 25 W: about 30; NVIDIA with MLC: 43.07.
        (GATEWAY, "llama-3.2-3b", "int4", 30.0, 43.1),
    ],
)
def test_decoding_is_as_fast_as_measured(hardware, model, precision, lowest, highest):
    assert lowest < 1.0 / deployed(hardware, model, precision).decode_s(1, 256) < highest


def test_the_telephone_reads_prompts_as_its_vendor_says():
    deployment = deployed(PHONE, "llama-3.1-8b", ON_PHONE)
    assert deployment.prefill_s(128) == pytest.approx(0.159, rel=0.1)
    assert deployment.prefill_s(4096) == pytest.approx(5.10, rel=0.25)


@pytest.mark.parametrize("hardware", [PHONE, GATEWAY])
def test_an_app_has_only_a_share_of_a_small_memory(hardware):
    deployment = deployed(hardware, "llama-3.2-3b", "int4")
    assert deployment.memory.usable_bytes <= 0.65 * deployment.hardware.memory.capacity.si
    # Room for a conversation, but not for all that the model could read.
    assert 8_000 < deployment.context_limit < deployment.model.max_context

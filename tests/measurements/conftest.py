"""Small tables of the known forms."""

from __future__ import annotations

import csv

import pytest

from inferencesim.measurements import published, silicon
from inferencesim.measurements.reading import read_measurements

SILICON_ROW = {
    "id": "2026_04_06_llama_3_1_70b_h200_sxm_vllm_fp8_agg_1024x8192_c64_tp4_ep1_7",
    "backend": "vllm",
    "backend_version": "0.10.0",
    "model_path": "meta-llama/Llama-3.1-70B",
    "system": "h200_sxm",
    "precision": "fp8",
    "mode": "agg",
    "isl": "1024",
    "osl": "8192",
    "gemm_quant_mode": "fp8",
    "moe_quant_mode": "fp8",
    "batch_size": "64.0",
    "tp_size": "4.0",
    "pp_size": "1.0",
    "attention_dp_size": "1.0",
    "moe_tp_size": "4.0",
    "moe_ep_size": "1.0",
    "silicon_ttft_ms": "431.25",
    "silicon_tpot_ms": "21.5",
    "source": "benchmark dump",
}
PUBLISHED_ROW = {
    "id": "vendor-llama-h200",
    "source": "a vendor's table",
    "hardware": "NVIDIA H200 SXM 141GB",
    "chips": "4",
    "framework": "TensorRT-LLM v1.0 PyTorch backend",
    "model": "Llama-3.3-70B",
    "precision": "FP8 (ModelOpt)",
    "parallelism": "tp4",
    "workload": "isl 1000, osl 2000",
    "load": "offline max: 3000 requests queued at t=0",
    "metric": "output_tok_s_total",
    "value": "5000",
}


@pytest.fixture
def table(tmp_path):
    """Return a writer of CSV files."""

    def write(name, columns, rows):
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def silicon_of(table):
    """Return a reader of silicon rows, each given as what differs from an ordinary one."""

    def read(*rows):
        return read_measurements(table("silicon.csv", silicon.COLUMNS, [SILICON_ROW | row for row in rows]))

    return read


@pytest.fixture
def published_of(table):
    """Return a reader of published rows, each given as what differs from an ordinary one."""

    def read(*rows):
        return read_measurements(table("points.csv", published.COLUMNS, [PUBLISHED_ROW | row for row in rows]))

    return read

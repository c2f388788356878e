// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The built-in GPU types as rows of data, each value with a source. gpu_model.h says what the
// columns mean, gpu_model_check.h which rules the rows obey (checked below, at compile time), and
// gpu_model.cpp looks rows up. To correct a value, change it here with its note and the test's
// copy.
//
// The values are a starting point, not constants of nature: the memory that a program sees moves
// with driver and board, and a cloud may grant another card than the one asked for.
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "emulator/gpu_model.h"
#include "emulator/gpu_model_check.h"

namespace torch_remote {
namespace {

constexpr std::uint64_t kKib = 1024;
constexpr std::uint64_t kMib = 1024 * kKib;

constexpr std::string_view kPriceDate = "autumn 2026";

constexpr std::string_view kDeviceQuery =
    "CUDA deviceQuery dump of this card, as quoted in public repositories";
constexpr std::string_view kDataSheet = "NVIDIA's data sheet of this card";
constexpr std::string_view kGuide =
    "CUDA C++ Programming Guide, technical specifications per compute capability";
constexpr std::string_view kAcceleratorTable =
    "github.com/stas00/ml-engineering, compute/accelerator/README.md (dense peaks)";

// What holds for every row that has no note of its own on the field.
constexpr Note kSharedNotes[] = {
    {"type", "Modal's name for the type, modal.com/docs/guide/gpu"},
    {"name", kDeviceQuery},
    {"capability_major", kDeviceQuery},
    {"capability_minor", kDeviceQuery},
    {"multiprocessor_count", kDeviceQuery},
    {"max_threads_per_multiprocessor", kGuide},
    {"warp_size", kGuide},
    {"total_memory_bytes", kDeviceQuery},
    {"l2_cache_bytes", kDeviceQuery},
    {"shared_memory_per_multiprocessor_bytes", kGuide},
    {"dram_bandwidth_gb_per_s", kDataSheet},
    {"boost_clock_mhz", kDeviceQuery},
    {"tdp_w", kAcceleratorTable},
    {"host_link.pcie_generation", kDataSheet},
    {"host_link.pcie_lane_count", kDataSheet},
    {"host_link.nvlink_gb_per_s", kDataSheet},
    {"peak.fp64", kAcceleratorTable},
    {"peak.fp64_tensor_core", kAcceleratorTable},
    {"peak.fp32", kAcceleratorTable},
    {"peak.tf32", kAcceleratorTable},
    {"peak.fp16", kAcceleratorTable},
    {"peak.bf16", kAcceleratorTable},
    {"peak.fp8", kAcceleratorTable},
    {"peak.int8", kAcceleratorTable},
    {"peak.fp4", kAcceleratorTable},
    {"modal_price_usd_per_s", "modal.com/pricing; a dated fallback for Modal's live rates", true},
    {"modal_price_date", "when the price was read"},
};

// Context memory. Public reports of PyTorch running out of memory state total and free memory, and
// what PyTorch holds; used memory less what PyTorch holds is the context with the kernels loaded so
// far. Where a report doesn't name its card, the total memory tells it. The context grows with the
// number of resident threads and with every library in use (NCCL alone can add 1 GiB), so all of
// these are uncertain by about a quarter.

constexpr Note kNotesT4[] = {
    {"total_memory_bytes", "deviceQuery dump; older drivers report 15,843,721,216", true},
    {"context_memory_bytes",
     "out-of-memory reports: 14.56 GiB total, 57.81 MiB free, 14.35 GiB + 44.44 MiB in PyTorch, so "
     "0.11 GiB; 15.81 MiB free, 13.90 GiB + 504.07 MiB in PyTorch, so 0.15 GiB",
     true},
    {"peak.bf16",
     "no tensor cores for bf16; square matmul runs at 2.0-2.5 TFLOP/s "
     "(github.com/zzc0721/torch-performance-test-data)"},
};

constexpr Note kNotesL4[] = {
    {"multiprocessor_count", "deviceQuery dump; data bases that say 60 are wrong"},
    {"total_memory_bytes", "deviceQuery dump; out-of-memory reports show 22.03 GiB as well", true},
    {"context_memory_bytes",
     "out-of-memory report: 22.03 GiB total, 69.06 MiB free, 21.65 GiB + 66.83 MiB in PyTorch, so "
     "0.25 GiB; 21.99 GiB total, 19.38 MiB free, 21.67 GiB + 5.59 MiB, so 0.30 GiB",
     true},
};

constexpr Note kNotesA10g[] = {
    {"name", "deviceQuery dump; Modal has granted an NVIDIA A10 (72 multiprocessors) for it"},
    {"total_memory_bytes",
     "deviceQuery dumps show 22,587 MiB or 22,723 MiB; out-of-memory reports mostly 22.06 GiB, "
     "which is the former",
     true},
    {"context_memory_bytes",
     "out-of-memory report: 22.06 GiB total, 823.44 MiB free, 21.00 GiB in PyTorch, so 0.25 GiB",
     true},
    {"boost_clock_mhz", "listed publicly without NVIDIA's confirmation", true},
    {"tdp_w", "NVIDIA publishes no figure; 300 W as nvidia-smi shows on AWS g5", true},
    {"peak.fp64", "1/64 of the fp32 rate by the architecture", true},
};

constexpr Note kNotesA100Sxm40[] = {
    {"context_memory_bytes",
     "out-of-memory reports: 39.39 GiB total, 203.06 MiB free, 38.61 GiB + 102.73 MiB in PyTorch, "
     "so 0.48 GiB; others give 0.51 and 0.52 GiB",
     true},
    {"dram_bandwidth_gb_per_s", "NVIDIA's data sheet of the SXM4 board"},
};

constexpr Note kNotesA100Sxm80[] = {
    {"name", "deviceQuery dump; Modal grants an SXM4 or a PCIe board"},
    {"total_memory_bytes", "deviceQuery dump; the PCIe board reports 84,974,239,744"},
    {"context_memory_bytes",
     "out-of-memory report: 79.25 GiB total, 4.89 GiB free, 73.25 GiB + 615.51 MiB in PyTorch, so "
     "0.51 GiB; another gives 0.48 GiB",
     true},
    {"dram_bandwidth_gb_per_s", "NVIDIA's data sheet of the SXM4 board; PCIe board 1935"},
    {"tdp_w", "NVIDIA's data sheet of the SXM4 board; PCIe board 300 W"},
};

constexpr Note kNotesL40s[] = {
    {"total_memory_bytes", "deviceQuery dump; out-of-memory reports mostly show 44.39 GiB", true},
    {"context_memory_bytes",
     "out-of-memory report: 44.39 GiB total, 105.38 MiB free, 43.37 GiB + 417.11 MiB in PyTorch, "
     "so "
     "0.51 GiB",
     true},
};

// It grows as kernels and libraries are loaded; a program that multiplies matrices is meant.
constexpr std::string_view kMeasuredHopperContext =
    "measured (emulator/calibration/measurements, device.jsonl) with CUDA 13.0: 526.8 MiB the "
    "context, 92 MiB with the first kernel, 66 MiB with cuBLAS; cuDNN takes 8 MiB more, cuSOLVER "
    "96 "
    "MiB, cuFFT 8 to 10 MiB. Out-of-memory reports of others say 0.60 to 0.75 GiB";

constexpr Note kNotesH100[] = {
    {"name", "deviceQuery dump; Modal has granted an H200 for it"},
    {"total_memory_bytes", "deviceQuery dump, CUDA 13.0; CUDA 12.8 reports 85,028,896,768", true},
    {"context_memory_bytes", kMeasuredHopperContext, true},
};

constexpr Note kNotesH200[] = {
    {"total_memory_bytes", "deviceQuery dump; out-of-memory reports show 139.72 to 139.81 GiB",
     true},
    {"context_memory_bytes", kMeasuredHopperContext, true},
};

constexpr Note kNotesB200[] = {
    {"context_memory_bytes",
     "out-of-memory report (github.com/stas00/ml-engineering, mem-oom): 178.35 GiB total, 10.00 "
     "GiB "
     "free, 167.64 GiB + 4.62 MiB in PyTorch, so 0.70 GiB",
     true},
    {"dram_bandwidth_gb_per_s", "NVIDIA's data sheet; clock and bus width of the driver give 7672",
     true},
    {"peak.fp64", "NVIDIA's data sheets say 37 (HGX B200) to 40 (GB200)", true},
    {"peak.fp64_tensor_core", "NVIDIA's data sheets say 37 (HGX B200) to 40 (GB200)", true},
    {"peak.fp32", "NVIDIA's data sheets say 75 (HGX B200) to 80 (GB200)", true},
};

constexpr std::array kGpuModels = {
    GpuModel{
        .type = "T4",
        .name = "Tesla T4",
        .capability_major = 7,
        .capability_minor = 5,
        .multiprocessor_count = 40,
        .max_threads_per_multiprocessor = 1024,
        .total_memory_bytes = 15'642'329'088,
        .context_memory_bytes = 150 * kMib,
        .l2_cache_bytes = 4 * kMib,
        .shared_memory_per_multiprocessor_bytes = 64 * kKib,
        .dram_bandwidth_gb_per_s = 320,
        .boost_clock_mhz = 1590,
        .tdp_w = 70,
        .host_link = {.pcie_generation = 3, .pcie_lane_count = 16, .nvlink_gb_per_s = {}},
        .peak = {.fp64 = 0.25,
                 .fp64_tensor_core = {},
                 .fp32 = 8.1,
                 .tf32 = {},
                 .fp16 = 65,
                 .bf16 = {},
                 .fp8 = {},
                 .int8 = 130,
                 .fp4 = {}},
        .modal_price_usd_per_s = 0.000164,
        .modal_price_date = kPriceDate,
        .notes = kNotesT4,
    },
    GpuModel{
        .type = "L4",
        .name = "NVIDIA L4",
        .capability_major = 8,
        .capability_minor = 9,
        .multiprocessor_count = 58,
        .max_threads_per_multiprocessor = 1536,
        .total_memory_bytes = 23'612'293'120,
        .context_memory_bytes = 280 * kMib,
        .l2_cache_bytes = 48 * kMib,
        .shared_memory_per_multiprocessor_bytes = 100 * kKib,
        .dram_bandwidth_gb_per_s = 300,
        .boost_clock_mhz = 2040,
        .tdp_w = 72,
        .host_link = {.pcie_generation = 4, .pcie_lane_count = 16, .nvlink_gb_per_s = {}},
        .peak = {.fp64 = 0.47,
                 .fp64_tensor_core = {},
                 .fp32 = 30.3,
                 .tf32 = 60,
                 .fp16 = 121,
                 .bf16 = 121,
                 .fp8 = 242,
                 .int8 = 242,
                 .fp4 = {}},
        .modal_price_usd_per_s = 0.000222,
        .modal_price_date = kPriceDate,
        .notes = kNotesL4,
    },
    GpuModel{
        .type = "A10G",
        .name = "NVIDIA A10G",
        .capability_major = 8,
        .capability_minor = 6,
        .multiprocessor_count = 80,
        .max_threads_per_multiprocessor = 1536,
        .total_memory_bytes = 22'587 * kMib,
        .context_memory_bytes = 260 * kMib,
        .l2_cache_bytes = 6 * kMib,
        .shared_memory_per_multiprocessor_bytes = 100 * kKib,
        .dram_bandwidth_gb_per_s = 600,
        .boost_clock_mhz = 1710,
        .tdp_w = 300,
        .host_link = {.pcie_generation = 4, .pcie_lane_count = 16, .nvlink_gb_per_s = {}},
        .peak = {.fp64 = 0.5,
                 .fp64_tensor_core = {},
                 .fp32 = 35,
                 .tf32 = 35,
                 .fp16 = 70,
                 .bf16 = 70,
                 .fp8 = {},
                 .int8 = 140,
                 .fp4 = {}},
        .modal_price_usd_per_s = 0.000306,
        .modal_price_date = kPriceDate,
        .notes = kNotesA10g,
    },
    GpuModel{
        .type = "A100-40GB",
        .name = "NVIDIA A100-SXM4-40GB",
        .capability_major = 8,
        .capability_minor = 0,
        .multiprocessor_count = 108,
        .max_threads_per_multiprocessor = 2048,
        .total_memory_bytes = 42'298'834'944,
        .context_memory_bytes = 510 * kMib,
        .l2_cache_bytes = 40 * kMib,
        .shared_memory_per_multiprocessor_bytes = 164 * kKib,
        .dram_bandwidth_gb_per_s = 1555,
        .boost_clock_mhz = 1410,
        .tdp_w = 400,
        .host_link = {.pcie_generation = 4, .pcie_lane_count = 16, .nvlink_gb_per_s = 600},
        .peak = {.fp64 = 9.7,
                 .fp64_tensor_core = 19.5,
                 .fp32 = 19.5,
                 .tf32 = 156,
                 .fp16 = 312,
                 .bf16 = 312,
                 .fp8 = {},
                 .int8 = 624,
                 .fp4 = {}},
        .modal_price_usd_per_s = 0.000583,
        .modal_price_date = kPriceDate,
        .notes = kNotesA100Sxm40,
    },
    GpuModel{
        .type = "A100-80GB",
        .name = "NVIDIA A100-SXM4-80GB",
        .capability_major = 8,
        .capability_minor = 0,
        .multiprocessor_count = 108,
        .max_threads_per_multiprocessor = 2048,
        .total_memory_bytes = 85'100'068'864,
        .context_memory_bytes = 510 * kMib,
        .l2_cache_bytes = 40 * kMib,
        .shared_memory_per_multiprocessor_bytes = 164 * kKib,
        .dram_bandwidth_gb_per_s = 2039,
        .boost_clock_mhz = 1410,
        .tdp_w = 400,
        .host_link = {.pcie_generation = 4, .pcie_lane_count = 16, .nvlink_gb_per_s = 600},
        .peak = {.fp64 = 9.7,
                 .fp64_tensor_core = 19.5,
                 .fp32 = 19.5,
                 .tf32 = 156,
                 .fp16 = 312,
                 .bf16 = 312,
                 .fp8 = {},
                 .int8 = 624,
                 .fp4 = {}},
        .modal_price_usd_per_s = 0.000694,
        .modal_price_date = kPriceDate,
        .notes = kNotesA100Sxm80,
    },
    GpuModel{
        .type = "L40S",
        .name = "NVIDIA L40S",
        .capability_major = 8,
        .capability_minor = 9,
        .multiprocessor_count = 142,
        .max_threads_per_multiprocessor = 1536,
        .total_memory_bytes = 47'576'711'168,
        .context_memory_bytes = 520 * kMib,
        .l2_cache_bytes = 96 * kMib,
        .shared_memory_per_multiprocessor_bytes = 100 * kKib,
        .dram_bandwidth_gb_per_s = 864,
        .boost_clock_mhz = 2520,
        .tdp_w = 350,
        .host_link = {.pcie_generation = 4, .pcie_lane_count = 16, .nvlink_gb_per_s = {}},
        .peak = {.fp64 = 1.4,
                 .fp64_tensor_core = {},
                 .fp32 = 91.6,
                 .tf32 = 183,
                 .fp16 = 362,
                 .bf16 = 362,
                 .fp8 = 733,
                 .int8 = 733,
                 .fp4 = {}},
        .modal_price_usd_per_s = 0.000542,
        .modal_price_date = kPriceDate,
        .notes = kNotesL40s,
    },
    GpuModel{
        .type = "H100",
        .name = "NVIDIA H100 80GB HBM3",
        .capability_major = 9,
        .capability_minor = 0,
        .multiprocessor_count = 132,
        .max_threads_per_multiprocessor = 2048,
        .total_memory_bytes = 85'017'755'648,
        .context_memory_bytes = 685 * kMib,
        .l2_cache_bytes = 50 * kMib,
        .shared_memory_per_multiprocessor_bytes = 228 * kKib,
        .dram_bandwidth_gb_per_s = 3350,
        .boost_clock_mhz = 1980,
        .tdp_w = 700,
        .host_link = {.pcie_generation = 5, .pcie_lane_count = 16, .nvlink_gb_per_s = 900},
        .peak = {.fp64 = 34,
                 .fp64_tensor_core = 67,
                 .fp32 = 67,
                 .tf32 = 494.5,
                 .fp16 = 989,
                 .bf16 = 989,
                 .fp8 = 1979,
                 .int8 = 1979,
                 .fp4 = {}},
        .modal_price_usd_per_s = 0.001097,
        .modal_price_date = kPriceDate,
        .notes = kNotesH100,
    },
    GpuModel{
        .type = "H200",
        .name = "NVIDIA H200",
        .capability_major = 9,
        .capability_minor = 0,
        .multiprocessor_count = 132,
        .max_threads_per_multiprocessor = 2048,
        .total_memory_bytes = 150'149'398'528,
        .context_memory_bytes = 685 * kMib,
        .l2_cache_bytes = 60 * kMib,
        .shared_memory_per_multiprocessor_bytes = 228 * kKib,
        .dram_bandwidth_gb_per_s = 4800,
        .boost_clock_mhz = 1980,
        .tdp_w = 700,
        .host_link = {.pcie_generation = 5, .pcie_lane_count = 16, .nvlink_gb_per_s = 900},
        .peak = {.fp64 = 34,
                 .fp64_tensor_core = 67,
                 .fp32 = 67,
                 .tf32 = 494.5,
                 .fp16 = 989,
                 .bf16 = 989,
                 .fp8 = 1979,
                 .int8 = 1979,
                 .fp4 = {}},
        .modal_price_usd_per_s = 0.001261,
        .modal_price_date = kPriceDate,
        .notes = kNotesH200,
    },
    GpuModel{
        .type = "B200",
        .name = "NVIDIA B200",
        .capability_major = 10,
        .capability_minor = 0,
        .multiprocessor_count = 148,
        .max_threads_per_multiprocessor = 2048,
        .total_memory_bytes = 182'642 * kMib,
        .context_memory_bytes = 720 * kMib,
        .l2_cache_bytes = 126 * kMib + 512 * kKib,
        .shared_memory_per_multiprocessor_bytes = 228 * kKib,
        .dram_bandwidth_gb_per_s = 8000,
        .boost_clock_mhz = 1965,
        .tdp_w = 1000,
        .host_link = {.pcie_generation = 5, .pcie_lane_count = 16, .nvlink_gb_per_s = 1800},
        .peak = {.fp64 = 37,
                 .fp64_tensor_core = 37,
                 .fp32 = 75,
                 .tf32 = 1125,
                 .fp16 = 2250,
                 .bf16 = 2250,
                 .fp8 = 4500,
                 .int8 = 4500,
                 .fp4 = 9000},
        .modal_price_usd_per_s = 0.001736,
        .modal_price_date = kPriceDate,
        .notes = kNotesB200,
    },
};

static_assert(invalid(std::span<const GpuModel>(kGpuModels)).empty());

}  // namespace

std::span<const GpuModel> gpu_models() { return kGpuModels; }

const Note* find_note(const GpuModel& model, std::string_view field) {
  for (const std::span<const Note> notes : {model.notes, std::span<const Note>(kSharedNotes)}) {
    for (const Note& note : notes) {
      if (note.field == field) return &note;
    }
  }
  return nullptr;
}

}  // namespace torch_remote

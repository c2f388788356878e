// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/random/philox.h"

#include "emulator/random/for_this_processor.h"

namespace torch_remote::emulator::random {
namespace {

constexpr std::uint32_t kMultiplierA = 0xD2511F53, kMultiplierB = 0xCD9E8D57;
constexpr std::uint32_t kWeylA = 0x9E3779B9, kWeylB = 0xBB67AE85;

// As many ciphers at once as hide a product's latency.
constexpr std::size_t kWidth = 8;

// Of threads whose numbers have the same high half.
void philox_run_baseline(std::uint64_t key, std::uint64_t draw, std::uint64_t first_thread,
                         std::size_t count, RunBits& bits) {
  for (std::size_t begin = 0; begin < count; begin += kWidth) {
    // 32 bits in 64: what products of vectors take and give.
    std::uint64_t s0[kWidth], s1[kWidth], s2[kWidth], s3[kWidth];
    for (std::size_t i = 0; i < kWidth; ++i) {
      s0[i] = draw;
      s1[i] = draw >> 32;
      s2[i] = first_thread + begin + i;
      s3[i] = first_thread >> 32;
    }
    auto key_a = static_cast<std::uint32_t>(key), key_b = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < kPhiloxRounds; ++round, key_a += kWeylA, key_b += kWeylB) {
      for (std::size_t i = 0; i < kWidth; ++i) {
        const std::uint64_t a = (s0[i] & 0xFFFFFFFF) * kMultiplierA;
        const std::uint64_t b = (s2[i] & 0xFFFFFFFF) * kMultiplierB;
        s0[i] = b >> 32 ^ s1[i] ^ key_a;
        s2[i] = a >> 32 ^ s3[i] ^ key_b;
        s1[i] = b;
        s3[i] = a;
      }
    }
    for (std::size_t i = 0; i < kWidth; ++i) {
      bits[0][begin + i] = static_cast<std::uint32_t>(s0[i]);
      bits[1][begin + i] = static_cast<std::uint32_t>(s1[i]);
      bits[2][begin + i] = static_cast<std::uint32_t>(s2[i]);
      bits[3][begin + i] = static_cast<std::uint32_t>(s3[i]);
    }
  }
}

#if TORCH_REMOTE_HAS_AVX2

constexpr std::size_t kVectors = kWidth / 4;

// The low halves of four lanes of 64 bits.
[[gnu::target("avx2"), gnu::always_inline]] inline void store_low_halves(__m256i lanes,
                                                                         std::uint32_t* to) {
  const __m256i packed =
      _mm256_permutevar8x32_epi32(lanes, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(packed));
}

[[gnu::target("avx2")]] void philox_run_avx2(std::uint64_t key, std::uint64_t draw,
                                             std::uint64_t first_thread, std::size_t count,
                                             RunBits& bits) {
  const __m256i multiplier_a = _mm256_set1_epi64x(kMultiplierA),
                multiplier_b = _mm256_set1_epi64x(kMultiplierB);
  const __m256i draw_low = _mm256_set1_epi64x(static_cast<long long>(draw));
  const __m256i draw_high = _mm256_srli_epi64(draw_low, 32);
  const __m256i first = _mm256_add_epi64(_mm256_set1_epi64x(static_cast<long long>(first_thread)),
                                         _mm256_setr_epi64x(0, 1, 2, 3));
  const __m256i thread_high = _mm256_set1_epi64x(static_cast<long long>(first_thread >> 32));
  for (std::size_t begin = 0; begin < count; begin += kWidth) {
    // The high halves of the lanes are of no meaning: products look at the low ones alone.
    __m256i s0[kVectors], s1[kVectors], s2[kVectors], s3[kVectors];
    for (std::size_t v = 0; v < kVectors; ++v) {
      s0[v] = draw_low;
      s1[v] = draw_high;
      s2[v] = _mm256_add_epi64(
          first, _mm256_set1_epi64x(static_cast<long long>(begin) + 4 * static_cast<long long>(v)));
      s3[v] = thread_high;
    }
    auto key_a = static_cast<std::uint32_t>(key), key_b = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < kPhiloxRounds; ++round, key_a += kWeylA, key_b += kWeylB) {
      const __m256i keys_a = _mm256_set1_epi64x(key_a), keys_b = _mm256_set1_epi64x(key_b);
      for (std::size_t v = 0; v < kVectors; ++v) {
        const __m256i a = _mm256_mul_epu32(s0[v], multiplier_a);
        const __m256i b = _mm256_mul_epu32(s2[v], multiplier_b);
        s0[v] = _mm256_xor_si256(_mm256_srli_epi64(b, 32), _mm256_xor_si256(s1[v], keys_a));
        s2[v] = _mm256_xor_si256(_mm256_srli_epi64(a, 32), _mm256_xor_si256(s3[v], keys_b));
        s1[v] = b;
        s3[v] = a;
      }
    }
    for (std::size_t v = 0; v < kVectors; ++v) {
      store_low_halves(s0[v], &bits[0][begin + 4 * v]);
      store_low_halves(s1[v], &bits[1][begin + 4 * v]);
      store_low_halves(s2[v], &bits[2][begin + 4 * v]);
      store_low_halves(s3[v], &bits[3][begin + 4 * v]);
    }
  }
}

const auto philox_run = has_avx2() ? &philox_run_avx2 : &philox_run_baseline;

#else

constexpr auto philox_run = &philox_run_baseline;

#endif

static_assert(kRunMax % kWidth == 0, "a run is filled in whole vectors");

}  // namespace

void philox_threads(std::uint64_t key, std::uint64_t draw, std::uint64_t first_thread,
                    std::size_t count, RunBits& bits) {
  const std::uint64_t before_carry = (std::uint64_t{1} << 32) - (first_thread & 0xFFFFFFFF);
  if (count > before_carry) {
    // Rare: one thread after the other.
    for (std::size_t i = 0; i < count; ++i) {
      const Bits4 one = philox(key, draw, first_thread + i);
      for (std::size_t number = 0; number < 4; ++number) bits[number][i] = one[number];
    }
    return;
  }
  philox_run(key, draw, first_thread, count, bits);
}

}  // namespace torch_remote::emulator::random

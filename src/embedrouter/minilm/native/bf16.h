// bfloat16 as the format of activations, in AVX512-BF16.
#pragma once

#include "attention.h"

namespace embedrouter {
namespace {

struct Bf16 {
    static constexpr int kPerLine = 32;

    using Sums = __m512;
    static Sums zero() { return _mm512_setzero_ps(); }
    static ALWAYS_INLINE Sums add(Sums sums, __m512i inputs, __m512i weights) {
        return _mm512_dpbf16_ps(sums, (__m512bh)inputs, (__m512bh)weights);
    }

    static ALWAYS_INLINE void store(const Lines& lines, int row, int column, Floats values) {
        const auto half = (__m256i)_mm512_cvtneps_pbh(values);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(place(lines, row, column)), half);
    }
    static ALWAYS_INLINE Floats load(const Lines& lines, int row, int column) {
        const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(place(lines, row, column)));
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    }

    // x times the normal distribution's Phi(x), to an absolute error below 5e-5, a fortieth of what rounding to bf16
    // costs at 1. Phi is 0.5 plus an odd polynomial, fitted so that it is exactly 0 and 1 at the ends of [-4.3, 4.3].
    static ALWAYS_INLINE Floats gelu(Floats x) {
        const Floats end = _mm512_set1_ps(4.3f);
        const Floats t = _mm512_max_ps(_mm512_min_ps(x, end), _mm512_sub_ps(_mm512_setzero_ps(), end));
        const Floats u = _mm512_mul_ps(t, t);
        constexpr float kOdd[] = {0.399001151f,    -0.0664511546f, 0.00985382684f,   -0.00111388613f, 9.35377757e-05f,
                                  -5.57866861e-06f, 2.20108035e-07f, -5.09328979e-09f, 5.19432553e-11f};
        Floats sum = _mm512_set1_ps(kOdd[8]);
        for (int power = 7; power >= 0; --power) sum = _mm512_fmadd_ps(sum, u, _mm512_set1_ps(kOdd[power]));
        return _mm512_mul_ps(x, _mm512_fmadd_ps(t, sum, _mm512_set1_ps(0.5f)));
    }

    // 2^x for x <= 0, to a relative error below 4e-6.
    static ALWAYS_INLINE Floats exp2(Floats x) {
        x = _mm512_max_ps(x, _mm512_set1_ps(-150.0f));
        const Floats whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        const Floats part = _mm512_sub_ps(x, whole);
        Floats sum = _mm512_set1_ps(0x1.3a02c4p-7f);
        sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(0x1.c9fc4ap-5f));
        sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(0x1.ec0378p-3f));
        sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(0x1.62e12cp-1f));
        sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(1.0f));
        return _mm512_scalef_ps(sum, whole);
    }

    // V of one head as weight tiles: outputs are the 32 dimensions of the head, inputs are keys, zero beyond `length`.
    static void pack_values(const Lines& lines, int start, int head, int length, int keys, std::byte* tiles) {
        alignas(64) static constexpr std::uint16_t kLow[32] = {
            0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
            8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
        const __m512i low = _mm512_load_si512(kLow);
        const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
        std::byte* second = tiles + keys / kPerLine * kTile;
        for (int key = 0; key < keys; key += 2, tiles += kLine, second += kLine) {
            const std::byte* line = lines.at(start + key, head);
            const __m512i even = key < length ? _mm512_loadu_si512(line) : _mm512_setzero_si512();
            const __m512i odd = key + 1 < length ? _mm512_loadu_si512(line + kLine) : _mm512_setzero_si512();
            _mm512_storeu_si512(tiles, _mm512_permutex2var_epi16(even, low, odd));
            _mm512_storeu_si512(second, _mm512_permutex2var_epi16(even, high, odd));
        }
    }

private:
    static std::byte* place(const Lines& lines, int row, int column) {
        return lines.at(row, column / kPerLine) + column % kPerLine * 2;
    }
};

}  // namespace
}  // namespace embedrouter

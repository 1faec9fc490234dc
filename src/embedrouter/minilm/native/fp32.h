// float32 as the format of activations, in AVX-512.
#pragma once

#include "attention.h"

namespace embedrouter {
namespace {

struct Fp32 {
    static constexpr int kPerLine = 16;

    using Sums = __m512;
    static Sums zero() { return _mm512_setzero_ps(); }
    static ALWAYS_INLINE Sums add(Sums sums, __m512i inputs, __m512i weights) {
        return _mm512_fmadd_ps(_mm512_castsi512_ps(inputs), _mm512_castsi512_ps(weights), sums);
    }

    static ALWAYS_INLINE void store(const Lines& lines, int row, int column, Floats values) {
        _mm512_storeu_ps(lines.at(row, column / kPerLine), values);
    }
    static ALWAYS_INLINE Floats load(const Lines& lines, int row, int column) {
        return _mm512_loadu_ps(lines.at(row, column / kPerLine));
    }

    // x times the normal distribution's Phi(x), to an absolute error below 5e-7. For negative x, Phi(x) is
    // erfc(-x / sqrt 2) / 2, by Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
    static ALWAYS_INLINE Floats gelu(Floats x) {
        const Floats size = _mm512_abs_ps(x);
        const Floats one = _mm512_set1_ps(1.0f);
        const Floats t = _mm512_div_ps(one, _mm512_fmadd_ps(size, _mm512_set1_ps(0.3275911f * 0.70710678f), one));
        Floats sum = _mm512_set1_ps(0.5f * 1.061405429f);
        for (const float next : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) {
            sum = _mm512_fmadd_ps(sum, t, _mm512_set1_ps(0.5f * next));
        }
        const Floats square = _mm512_mul_ps(_mm512_mul_ps(size, size), _mm512_set1_ps(-0.5f * 1.44269504f));
        const Floats tail = _mm512_mul_ps(_mm512_mul_ps(sum, t), exp2(square));
        const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
        return _mm512_mul_ps(x, _mm512_mask_blend_ps(negative, _mm512_sub_ps(one, tail), tail));
    }

    // 2^x for x <= 0, to a relative error of some 1e-7.
    static ALWAYS_INLINE Floats exp2(Floats x) {
        x = _mm512_max_ps(x, _mm512_set1_ps(-150.0f));
        const Floats whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        const Floats part = _mm512_sub_ps(x, whole);
        Floats sum = _mm512_set1_ps(0x1.41fbb8p-13f);
        constexpr float kNext[] = {0x1.5f3e54p-10f, 0x1.3b2d4cp-7f, 0x1.c6aee8p-5f,
                                   0x1.ebfbdcp-3f,  0x1.62e430p-1f, 1.0f};
        for (const float next : kNext) {
            sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(next));
        }
        return _mm512_scalef_ps(sum, whole);
    }

    // V of one head as weight tiles: outputs are the 32 dimensions of the head, inputs are keys, zero beyond `length`.
    static void pack_values(const Lines& lines, int start, int head, int length, int keys, std::byte* tiles) {
        for (int half = 0; half < 2; ++half) {
            const std::byte* line = lines.at(start, 2 * head + half);
            for (int key = 0; key < keys; ++key, tiles += kLine, line += kLine) {
                const Floats values = key < length ? _mm512_loadu_ps(line) : _mm512_setzero_ps();
                _mm512_storeu_ps(tiles, values);
            }
        }
    }
};

}  // namespace
}  // namespace embedrouter

// What happens to single rows between the GEMMs, in AVX-512 with BF16: embedding, LayerNorm, GELU, softmax, pooling.
// Included by the files of instruction paths only, and private to each, so that no such instruction leaks elsewhere.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "block.h"

namespace embedrouter {
namespace {

using Floats = __m512;

#define ALWAYS_INLINE inline __attribute__((always_inline))

inline __m256i to_bf16(Floats values) {
    return (__m256i)_mm512_cvtneps_pbh(values);
}

inline void store_bf16(std::byte* to, Floats values) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), to_bf16(values));
}

inline Floats load_bf16(const std::byte* from) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

// Where the 16 columns from `column` of a row of bf16 lie.
inline std::byte* sixteen(const Lines& lines, int row, int column) {
    return lines.at(row, column / 32) + (column % 32) * 2;
}

// x times the normal distribution's Phi(x), to an absolute error below 5e-5, a fortieth of what rounding to bf16 costs
// at 1. Phi is 0.5 plus an odd polynomial, fitted so that it is exactly 0 and 1 at the ends of [-4.3, 4.3].
inline Floats gelu(Floats x) {
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
inline Floats exp2(Floats x) {
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

// A row of `columns` floats as unsigned bytes: 255 steps from its least value, or 0, to its largest. The kept ones are
// taken out of `values`.
inline Code quantise(float* values, int columns, const Kept& kept, const Lines& to, int row) {
    Code code{};
    for (int i = 0; i < kKept; ++i) {
        if (kept[i] < 0) continue;
        code.kept[i] = values[kept[i]];
        values[kept[i]] = 0;
    }
    Floats least = _mm512_setzero_ps();
    Floats largest = _mm512_setzero_ps();
    for (int i = 0; i < columns; i += 16) {
        const Floats some = _mm512_loadu_ps(values + i);
        least = _mm512_min_ps(least, some);
        largest = _mm512_max_ps(largest, some);
    }
    const float low = _mm512_reduce_min_ps(least);
    const float range = _mm512_reduce_max_ps(largest) - low;
    const float steps = range > 0 ? 255 / range : 0;
    const float zero = std::nearbyintf(-low * steps);
    for (int i = 0; i < columns; i += 16) {
        const Floats place = _mm512_fmadd_ps(_mm512_loadu_ps(values + i), _mm512_set1_ps(steps), _mm512_set1_ps(zero));
        // Rounds to nearest; a value a hair outside is cut at 0 or 255.
        const __m512i whole = _mm512_max_epi32(_mm512_cvtps_epi32(place), _mm512_setzero_si512());
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to.at(row, i / 64) + i % 64), _mm512_cvtusepi32_epi8(whole));
    }
    code.scale = range / 255;
    code.zero = zero;
    return code;
}

// From int32 sums of products of bytes back to floats, with the bias.
inline Floats dequantise(__m512i sums, const Linear& linear, int column, const Code& code) {
    Floats values = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(linear.scale.data() + column));
    values = _mm512_fnmadd_ps(_mm512_set1_ps(code.zero), _mm512_loadu_ps(linear.sum.data() + column), values);
    values = _mm512_fmadd_ps(values, _mm512_set1_ps(code.scale), _mm512_loadu_ps(linear.bias.data() + column));
    for (int i = 0; i < kKept; ++i) {
        const Floats weights = _mm512_loadu_ps(linear.kept_weights[i].data() + column);
        values = _mm512_fmadd_ps(_mm512_set1_ps(code.kept[i]), weights, values);
    }
    return values;
}

constexpr int kVectors = kHidden / 16;

inline float total(const Floats (&sums)[4]) {
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
}

// LayerNorm of up to 16 rows of the stream, in place; emit(row, column, values) sees each 16 results. Step by step over
// all rows, since the sums of one row would be waited for.
template <class Emit>
ALWAYS_INLINE void layer_norm(float* stream, int rows, const Norm& norm, Emit emit) {
    constexpr float kEpsilon = 1e-12f;
    float mean[kTileRows], factor[kTileRows];
    for (int r = 0; r < rows; ++r) {
        const float* row = stream + r * kHidden;
        Floats sums[4] = {};
        for (int i = 0; i < kVectors; ++i) sums[i % 4] = _mm512_add_ps(sums[i % 4], _mm512_loadu_ps(row + 16 * i));
        mean[r] = total(sums) / kHidden;
    }
    for (int r = 0; r < rows; ++r) {
        const float* row = stream + r * kHidden;
        Floats squares[4] = {};
        for (int i = 0; i < kVectors; ++i) {
            const Floats distance = _mm512_sub_ps(_mm512_loadu_ps(row + 16 * i), _mm512_set1_ps(mean[r]));
            squares[i % 4] = _mm512_fmadd_ps(distance, distance, squares[i % 4]);
        }
        factor[r] = 1.0f / std::sqrt(total(squares) / kHidden + kEpsilon);
    }
    for (int r = 0; r < rows; ++r) {
        float* row = stream + r * kHidden;
        for (int i = 0; i < kVectors; ++i) {
            const Floats distance = _mm512_sub_ps(_mm512_loadu_ps(row + 16 * i), _mm512_set1_ps(mean[r]));
            const Floats gain = _mm512_loadu_ps(norm.gain.data() + 16 * i);
            const Floats bias = _mm512_loadu_ps(norm.bias.data() + 16 * i);
            const Floats values = _mm512_fmadd_ps(_mm512_mul_ps(distance, _mm512_set1_ps(factor[r])), gain, bias);
            _mm512_storeu_ps(row + 16 * i, values);
            emit(r, 16 * i, values);
        }
    }
}

// The embedding of a token at a position, before its LayerNorm.
inline void embed_token(const Model& model, std::int32_t id, int position, float* row) {
    const float* word = model.words + static_cast<std::size_t>(id) * kHidden;
    const float* place = model.places.data() + static_cast<std::size_t>(position) * kHidden;
    for (int i = 0; i < kHidden; i += 16) {
        _mm512_storeu_ps(row + i, _mm512_add_ps(_mm512_loadu_ps(word + i), _mm512_loadu_ps(place + i)));
    }
}

// exp(score / sqrt(head size)) of each row relative to its largest score, as bf16 lines of weights, zero beyond
// `length`. `sums` receives the rows' sums. scores: (rows, 32 * chunks) with any values beyond `length`.
inline void softmax(const float* scores, int rows, int length, int chunks, std::byte* weights, float* sums) {
    const Floats factor = _mm512_set1_ps(1.4426950408889634f / std::sqrt(static_cast<float>(kHeadSize)));
    const Floats least = _mm512_set1_ps(-3.0e38f);
    const int vectors = 2 * chunks;
    const auto mask = [length](int i) {
        const int left = length - 16 * i;
        return static_cast<__mmask16>(left >= 16 ? 0xffff : left <= 0 ? 0 : (1 << left) - 1);
    };
    for (int r = 0; r < rows; ++r) {
        const float* row = scores + static_cast<std::size_t>(r) * 32 * chunks;
        Floats largest = least;
        for (int i = 0; i < vectors; ++i) {
            largest = _mm512_mask_max_ps(largest, mask(i), largest, _mm512_loadu_ps(row + 16 * i));
        }
        const Floats top = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
        Floats sum = _mm512_setzero_ps();
        for (int i = 0; i < vectors; ++i) {
            const Floats distance = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(row + 16 * i), top), factor);
            const Floats weight = _mm512_maskz_mov_ps(mask(i), exp2(distance));
            sum = _mm512_add_ps(sum, weight);
            store_bf16(weights + (i / 2) * kTile + r * kLine + (i % 2) * 32, weight);
        }
        sums[r] = _mm512_reduce_add_ps(sum);
    }
}

// 16 rows of 16 dwords each, transposed.
inline void transpose(const std::byte* from, std::byte* to) {
    __m512i row[16], step[16];
    for (int i = 0; i < 16; ++i) row[i] = _mm512_loadu_si512(from + i * kLine);
    for (int i = 0; i < 16; i += 2) {
        step[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
        step[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        row[i] = _mm512_unpacklo_epi64(step[i], step[i + 2]);
        row[i + 1] = _mm512_unpackhi_epi64(step[i], step[i + 2]);
        row[i + 2] = _mm512_unpacklo_epi64(step[i + 1], step[i + 3]);
        row[i + 3] = _mm512_unpackhi_epi64(step[i + 1], step[i + 3]);
    }
    for (int i = 0; i < 16; i += 8) {
        for (int j = 0; j < 4; ++j) {
            step[i + j] = _mm512_shuffle_i32x4(row[i + j], row[i + j + 4], 0x88);
            step[i + j + 4] = _mm512_shuffle_i32x4(row[i + j], row[i + j + 4], 0xdd);
        }
    }
    for (int j = 0; j < 8; ++j) {
        _mm512_storeu_si512(to + j * kLine, _mm512_shuffle_i32x4(step[j], step[j + 8], 0x88));
        _mm512_storeu_si512(to + (j + 8) * kLine, _mm512_shuffle_i32x4(step[j], step[j + 8], 0xdd));
    }
}

// K of one head as weight tiles: outputs are keys, the one chunk of inputs is the head. Whole tiles of keys are
// written; what lies beyond `length` in the last two means nothing.
inline void pack_keys(const std::byte* lines, int length, std::byte* tiles) {
    for (int key = 0; key < length; key += kTileRows) transpose(lines + key * kLine, tiles + key * kLine);
}

// V of one head as weight tiles: outputs are the 32 dimensions of the head, inputs are keys, zero beyond `length`.
inline void pack_values(const std::byte* lines, int length, int chunks, std::byte* tiles) {
    alignas(64) static constexpr std::uint16_t kLow[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                           8,  40, 9,  41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    const __m512i low = _mm512_load_si512(kLow);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    const __m512i zero = _mm512_setzero_si512();
    std::byte* second = tiles + chunks * kTile;
    for (int pair = 0; pair < 16 * chunks; ++pair) {
        const int key = 2 * pair;
        const __m512i even = key < length ? _mm512_loadu_si512(lines + key * kLine) : zero;
        const __m512i odd = key + 1 < length ? _mm512_loadu_si512(lines + (key + 1) * kLine) : zero;
        _mm512_storeu_si512(tiles + pair * kLine, _mm512_permutex2var_epi16(even, low, odd));
        _mm512_storeu_si512(second + pair * kLine, _mm512_permutex2var_epi16(even, high, odd));
    }
}

// The sum of a sequence's rows, at unit length. The mean needs no division: the norm takes it out again.
inline void pool(const float* rows, int length, float* vector) {
    Floats sums[kVectors] = {};
    for (int r = 0; r < length; ++r) {
        for (int i = 0; i < kVectors; ++i) sums[i] = _mm512_add_ps(sums[i], _mm512_loadu_ps(rows + r * kHidden + 16 * i));
    }
    Floats squares = _mm512_setzero_ps();
    for (int i = 0; i < kVectors; ++i) squares = _mm512_fmadd_ps(sums[i], sums[i], squares);
    const float norm = std::sqrt(_mm512_reduce_add_ps(squares));
    const Floats factor = _mm512_set1_ps(1.0f / std::fmax(norm, 1e-12f));
    for (int i = 0; i < kVectors; ++i) _mm512_storeu_ps(vector + 16 * i, _mm512_mul_ps(sums[i], factor));
}

}  // namespace
}  // namespace embedrouter

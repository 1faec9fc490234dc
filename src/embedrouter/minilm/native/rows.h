// What happens to single rows between the GEMMs, in AVX-512: embedding, LayerNorm, quantising, pooling. Included by the
// files of instruction paths only, and private to each, so that no such instruction leaks elsewhere.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "block.h"

namespace embedrouter {
namespace {

using Floats = __m512;

#define ALWAYS_INLINE inline __attribute__((always_inline))

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

// The sum of a sequence's rows, at unit length. The mean needs no division: the norm takes it out again.
inline void pool(const float* rows, int length, float* vector) {
    Floats sums[kVectors] = {};
    for (int r = 0; r < length; ++r) {
        const float* row = rows + r * kHidden;
        for (int i = 0; i < kVectors; ++i) sums[i] = _mm512_add_ps(sums[i], _mm512_loadu_ps(row + 16 * i));
    }
    Floats squares = _mm512_setzero_ps();
    for (int i = 0; i < kVectors; ++i) squares = _mm512_fmadd_ps(sums[i], sums[i], squares);
    const float norm = std::sqrt(_mm512_reduce_add_ps(squares));
    const Floats factor = _mm512_set1_ps(1.0f / std::fmax(norm, 1e-12f));
    for (int i = 0; i < kVectors; ++i) _mm512_storeu_ps(vector + 16 * i, _mm512_mul_ps(sums[i], factor));
}

}  // namespace
}  // namespace embedrouter

// What attention does outside its two products, for one head of one sequence. Products run over `keys` keys: the
// sequence's length, up to whole chunks of the format.
#pragma once

#include "rows.h"

namespace embedrouter {
namespace {

constexpr int keys_for(int length) { return (length + 31) / 32 * 32; }

// exp(score / sqrt(head size)) of each row relative to its largest score, as lines of `weights`, zero beyond `length`.
// `sums` receives the rows' sums. scores: (rows, keys) with any values beyond `length`.
template <class Element>
inline void softmax(const float* scores, int rows, int length, int keys, std::byte* weights, float* sums) {
    const Floats factor = _mm512_set1_ps(1.4426950408889634f / std::sqrt(static_cast<float>(kHeadSize)));
    const Floats least = _mm512_set1_ps(-3.0e38f);
    const int vectors = keys / 16;
    const auto mask = [length](int i) {
        const int left = length - 16 * i;
        return static_cast<__mmask16>(left >= 16 ? 0xffff : left <= 0 ? 0 : (1 << left) - 1);
    };
    for (int r = 0; r < rows; ++r) {
        const float* row = scores + static_cast<std::size_t>(r) * keys;
        Floats largest = least;
        for (int i = 0; i < vectors; ++i) {
            largest = _mm512_mask_max_ps(largest, mask(i), largest, _mm512_loadu_ps(row + 16 * i));
        }
        const Floats top = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
        Floats sum = _mm512_setzero_ps();
        for (int i = 0; i < vectors; ++i) {
            const Floats distance = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(row + 16 * i), top), factor);
            const Floats weight = _mm512_maskz_mov_ps(mask(i), Element::exp2(distance));
            sum = _mm512_add_ps(sum, weight);
            Element::store({weights, kTile}, r, 16 * i, weight);
        }
        sums[r] = _mm512_reduce_add_ps(sum);
    }
}

// K of one head as weight tiles: outputs are keys, inputs are the dimensions of the head. What lies beyond `length`
// means nothing.
template <class Element>
inline void pack_keys(const Lines& lines, int start, int head, int length, std::byte* tiles) {
    constexpr int kChunks = kHeadSize / Element::kPerLine;
    for (int key = 0; key < length; key += kTileRows) {
        for (int chunk = 0; chunk < kChunks; ++chunk, tiles += kTile) {
            transpose(lines.at(start + key, head * kChunks + chunk), tiles);
        }
    }
}

}  // namespace
}  // namespace embedrouter

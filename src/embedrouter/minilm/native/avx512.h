// GEMM and attention for instructions that add 16 dot products of 4 bytes to 16 sums: VDPBF16PS, VPDPBUSD.
//
// The micro-kernel keeps the sums of 8 rows by 48 outputs in 24 of the 32 registers. Each step loads three lines of
// weights and broadcasts 4 bytes of each row: 11 loads for 24 multiply-adds, so that the multiplier is the limit.
#pragma once

#include "attention.h"
#include "forward.h"

namespace embedrouter {
namespace {

constexpr int kStrip = 8;  // rows of the micro-kernel

// Sums of `Rows` rows and `Tiles` weight tiles over all chunks. Every sum adds its products in the order of the inputs,
// whatever Rows and Tiles are: that keeps a row's bits the same in every block.
template <class Dot, int Rows, int Tiles>
ALWAYS_INLINE void multiply(const std::byte* lines, std::size_t stride, const std::byte* tiles, std::size_t next_tile,
                            int chunks, typename Dot::Sums (&sums)[Rows][Tiles]) {
    for (int r = 0; r < Rows; ++r) {
        for (int t = 0; t < Tiles; ++t) sums[r][t] = Dot::zero();
    }
    for (int chunk = 0; chunk < chunks; ++chunk, lines += stride, tiles += kTile) {
#pragma GCC unroll 4
        for (std::size_t step = 0; step < kTileRows; ++step) {
            __m512i weights[Tiles];
            for (int t = 0; t < Tiles; ++t) {
                const std::byte* line = tiles + t * next_tile + step * kLine;
                weights[t] = _mm512_loadu_si512(line);
                // Of no use to a large block; a short text waits for the L3 cache, whose own prefetcher stops at each
                // page.
                _mm_prefetch(reinterpret_cast<const char*>(line + kTile), _MM_HINT_T0);
            }
            for (int r = 0; r < Rows; ++r) {
                std::int32_t four;
                std::memcpy(&four, lines + r * kLine + step * 4, 4);
                const __m512i inputs = _mm512_set1_epi32(four);
                for (int t = 0; t < Tiles; ++t) sums[r][t] = Dot::add(sums[r][t], inputs, weights[t]);
            }
        }
    }
}

// Dot: kFormat; kInputs, of one chunk; Sums, zero(), add(sums, inputs, weights); floats(sums, linear, column, code of
// the row), with the bias; Element: the format of activations, which is a Dot by itself: attention's products use it.
template <class Dot>
struct Avx512Kernel {
    using Element = typename Dot::Element;
    static constexpr Format kFormat = Dot::kFormat;
    static constexpr int kTiles = 3;

    template <class Finish>
    static void gemm(const Lines& lines, int rows, const Code* codes, const Linear& linear, int first, Scratch&,
                     Finish finish) {
        int row = 0;
        for (; row + kStrip <= rows; row += kStrip) strip<kStrip>(lines, row, codes, linear, first, finish);
        switch (rows - row) {
            case 1: return strip<1>(lines, row, codes, linear, first, finish);
            case 2: return strip<2>(lines, row, codes, linear, first, finish);
            case 3: return strip<3>(lines, row, codes, linear, first, finish);
            case 4: return strip<4>(lines, row, codes, linear, first, finish);
            case 5: return strip<5>(lines, row, codes, linear, first, finish);
            case 6: return strip<6>(lines, row, codes, linear, first, finish);
            case 7: return strip<7>(lines, row, codes, linear, first, finish);
            default: return;
        }
    }

    static void attend(Workspace& space, const Span& span, int head, Scratch& scratch) {
        constexpr int kChunks = kHeadSize / Element::kPerLine;  // of a head
        const int keys = keys_for(span.length);
        const int key_chunks = keys / Element::kPerLine;
        pack_keys<Element>(space.qkv, span.start, kHeads + head, span.length, scratch.keys.data());
        Element::pack_values(space.qkv, span.start, 2 * kHeads + head, span.length, keys, scratch.values.data());
        float* scores = scratch.scores.floats();
        for (int row = 0; row < span.length; row += kStrip) {
            const int rows = std::min(kStrip, span.length - row);
            // Queries past the sequence's end are computed, too, and not used.
            for (int key = 0; key < keys; key += 32) {
                Floats sums[kStrip][2];
                const std::byte* tiles = scratch.keys.data() + key / kTileRows * kChunks * kTile;
                multiply<Element>(space.qkv.at(span.start + row, head * kChunks), space.qkv.stride, tiles,
                                  kChunks * kTile, kChunks, sums);
                for (int r = 0; r < kStrip; ++r) {
                    _mm512_storeu_ps(scores + r * keys + key, sums[r][0]);
                    _mm512_storeu_ps(scores + r * keys + key + 16, sums[r][1]);
                }
            }
            float total[kStrip];
            softmax<Element>(scores, rows, span.length, keys, scratch.weights.data(), total);
            Floats mixed[kStrip][2];
            multiply<Element>(scratch.weights.data(), kTile, scratch.values.data(), key_chunks * kTile, key_chunks,
                              mixed);
            for (int r = 0; r < rows; ++r) {
                const Floats factor = _mm512_set1_ps(1.0f / total[r]);
                for (int half = 0; half < 2; ++half) {
                    const int column = head * kHeadSize + 16 * half;
                    Element::store(space.mixed, span.start + row + r, column, _mm512_mul_ps(mixed[r][half], factor));
                }
            }
        }
    }

private:
    template <int Rows, class Finish>
    static ALWAYS_INLINE void strip(const Lines& lines, int row, const Code* codes, const Linear& linear, int first,
                                    Finish& finish) {
        const int chunks = linear.inputs / Dot::kInputs;
        typename Dot::Sums sums[Rows][kTiles];
        multiply<Dot>(lines.at(row, 0), lines.stride, linear.tiles.data() + first * chunks * kTile, chunks * kTile,
                      chunks, sums);
        for (int r = 0; r < Rows; ++r) {
            for (int t = 0; t < kTiles; ++t) {
                const int column = (first + t) * 16;
                finish(row + r, column, Dot::floats(sums[r][t], linear, column, codes + row + r));
            }
        }
    }
};

inline void nothing() {}

}  // namespace
}  // namespace embedrouter

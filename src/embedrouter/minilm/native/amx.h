// AMX: eight tile registers of 16 rows by 64 bytes, and one instruction that multiplies two of them into a third.
//
// One step multiplies 16 rows by 16 outputs over one chunk of inputs: 32 bf16 or 64 int8 values. Sums are tiles of 16
// by 16 float32 or int32. The GEMM keeps 2 by 2 tiles of sums, so that each tile of inputs and of weights it loads is
// used twice.
#pragma once

#include "bf16.h"
#include "forward.h"

namespace embedrouter {
namespace {

// Tile registers 0 to 3 are sums, 4 and 5 are rows of inputs, 6 and 7 are weights. All are whole: rows that are not
// there are computed and dropped.
void enter_tiles() {
    struct alignas(64) {
        std::uint8_t palette = 1;
        std::uint8_t start_row = 0;
        std::uint8_t reserved[14] = {};
        std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    static_assert(sizeof(config) == 64);
    // The intrinsics of some compilers do not say that they read memory.
    asm volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
}

void leave_tiles() {
    _tile_release();
}

// Orders the compiler's own loads and stores before and after tile instructions, of which it knows nothing.
inline void fence() {
    asm volatile("" ::: "memory");
}

constexpr int kSumsStride = 32 * sizeof(float);
constexpr int kPanel = 12;  // chunks whose weights, 2 tiles wide, stay in the L1 cache while all rows pass

// Dot::step(pair) multiplies tiles 4 and, in a pair, 5 by 6 and 7 into 0 to 3.
template <class Dot, class Emit>
inline void multiply(const Lines& lines, int rows, const std::byte* tiles, int chunks, float* sums, Emit emit) {
    const std::byte* second = tiles + chunks * kTile;
    for (int from = 0; from < chunks; from += kPanel) {
        const int end = std::min(chunks, from + kPanel);
        const bool last = end == chunks;
        for (int row = 0; row < rows; row += 2 * kTileRows) {
            const bool pair = rows - row > kTileRows;
            float* upper = sums + row * 32;
            float* lower = upper + kTileRows * 32;
            fence();
            if (from == 0) {
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
            } else {
                _tile_loadd(0, upper, kSumsStride);
                _tile_loadd(1, upper + 16, kSumsStride);
                _tile_loadd(2, lower, kSumsStride);
                _tile_loadd(3, lower + 16, kSumsStride);
            }
            int emitted = 0;
            for (int chunk = from; chunk < end; ++chunk) {
                _tile_loadd(6, tiles + chunk * kTile, kLine);
                _tile_loadd(7, second + chunk * kTile, kLine);
                _tile_loadd(4, lines.at(row, chunk), kLine);
                if (pair) _tile_loadd(5, lines.at(row + kTileRows, chunk), kLine);
                Dot::step(pair);
                // While the tiles multiply, the vector units finish the rows before.
                if (last && row > 0) {
                    const int until = 2 * kTileRows * (chunk + 1 - from) / (end - from);
                    for (; emitted < until; ++emitted) emit(row - 2 * kTileRows + emitted);
                }
            }
            _tile_stored(0, upper, kSumsStride);
            _tile_stored(1, upper + 16, kSumsStride);
            if (pair) {
                _tile_stored(2, lower, kSumsStride);
                _tile_stored(3, lower + 16, kSumsStride);
            }
            fence();
        }
    }
    for (int row = (rows - 1) / 32 * 32; row < rows; ++row) emit(row);
}

// Dot: kFormat; kInputs, of one chunk; step(pair); floats(sums, linear, column, code of the row), with the bias.
template <class Dot>
struct AmxKernel {
    using Element = Bf16;
    static constexpr Format kFormat = Dot::kFormat;
    static constexpr int kTiles = 2;

    template <class Finish>
    static void gemm(const Lines& lines, int rows, const Code* codes, const Linear& linear, int first,
                     Scratch& scratch, Finish finish) {
        const int chunks = linear.inputs / Dot::kInputs;
        float* sums = scratch.sums.floats();
        multiply<Dot>(lines, rows, linear.tiles.data() + first * chunks * kTile, chunks, sums, [&](int row) {
            for (int column = 0; column < 32; column += 16) {
                const Floats values = Dot::floats(sums + row * 32 + column, linear, first * 16 + column, codes + row);
                finish(row, first * 16 + column, values);
            }
        });
    }

    static void attend(Workspace& space, const Span& span, int head, Scratch& scratch) {
        const int keys = keys_for(span.length);
        const int chunks = keys / Bf16::kPerLine;
        pack_keys<Bf16>(space.qkv, span.start, kHeads + head, span.length, scratch.keys.data());
        Bf16::pack_values(space.qkv, span.start, 2 * kHeads + head, span.length, keys, scratch.values.data());
        const std::byte* values = scratch.values.data();
        const std::byte* weights = scratch.weights.data();
        float* scores = scratch.scores.floats();
        float* mixed = scratch.sums.floats();
        for (int row = 0; row < span.length; row += kTileRows) {
            const int rows = std::min(kTileRows, span.length - row);
            fence();
            _tile_loadd(4, space.qkv.at(span.start + row, head), kLine);
            for (int tile = 0; tile < 2 * chunks; tile += 2) {
                _tile_loadd(6, scratch.keys.data() + tile * kTile, kLine);
                _tile_loadd(7, scratch.keys.data() + (tile + 1) * kTile, kLine);
                _tile_zero(0);
                _tile_zero(1);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
                _tile_stored(0, scores + tile * 16, chunks * kSumsStride);
                _tile_stored(1, scores + tile * 16 + 16, chunks * kSumsStride);
            }
            fence();
            float total[kTileRows];
            softmax<Bf16>(scores, rows, span.length, keys, scratch.weights.data(), total);
            fence();
            _tile_zero(0);
            _tile_zero(1);
            for (int chunk = 0; chunk < chunks; ++chunk) {
                _tile_loadd(4, weights + chunk * kTile, kLine);
                _tile_loadd(6, values + chunk * kTile, kLine);
                _tile_loadd(7, values + (chunks + chunk) * kTile, kLine);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
            }
            _tile_stored(0, mixed, kSumsStride);
            _tile_stored(1, mixed + 16, kSumsStride);
            fence();
            for (int r = 0; r < rows; ++r) {
                const Floats factor = _mm512_set1_ps(1.0f / total[r]);
                for (int column = 0; column < kHeadSize; column += 16) {
                    const Floats values = _mm512_mul_ps(_mm512_loadu_ps(mixed + r * 32 + column), factor);
                    Bf16::store(space.mixed, span.start + row + r, head * kHeadSize + column, values);
                }
            }
        }
    }
};

}  // namespace
}  // namespace embedrouter

// How matrices lie in memory, the same for every instruction path.
//
// An activation matrix is stored in lines of 64 bytes: 32 bf16 values or 64 int8 values of one row. The lines of one
// chunk of columns follow each other row by row, chunk after chunk. So sixteen rows of a chunk are 1 KB without gaps,
// wherever they start: one AMX tile.
//
// A weight matrix is stored in tiles of 1 KB: 16 outputs by one chunk of inputs, where a line holds, for each of the 16
// outputs, the 4 bytes of consecutive inputs (2 bf16 or 4 int8) that one multiply-add step takes. The tiles of 16
// outputs follow each other along the inputs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace embedrouter {

constexpr int kHidden = 384;
constexpr int kLayers = 6;
constexpr int kHeads = 12;
constexpr int kHeadSize = 32;
constexpr int kQkv = 3 * kHidden;
constexpr int kWide = 1536;
constexpr int kVocabulary = 30522;
constexpr int kMaxLength = 512;  // tokens of one sequence: the positions the model has

constexpr std::size_t kLine = 64;
constexpr int kTileRows = 16;
constexpr std::size_t kTile = kTileRows * kLine;

// Activations of one block: any number of rows, `chunks` lines a row.
struct Lines {
    std::byte* base = nullptr;
    std::size_t stride = 0;  // bytes from one chunk to the next

    std::byte* at(int row, int chunk) const { return base + chunk * stride + row * kLine; }
};

// Rows that a chunk has room for. Whole tiles; and 16 modulo 64, so that the same row of several chunks does not fall
// into the same cache set.
constexpr int room(int rows) {
    return (rows + 47) / 64 * 64 + 16;
}
static_assert(room(1) == 16 && room(16) == 16 && room(17) == 80 && room(80) == 80 && room(81) == 144);

}  // namespace embedrouter

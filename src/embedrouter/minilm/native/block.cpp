#include "block.h"

#include <algorithm>

namespace embedrouter {
namespace {

constexpr std::size_t kNarrowChunks = kHidden * 2 / kLine;
constexpr std::size_t kBroadChunks = kWide * 2 / kLine;  // more than those of qkv
constexpr std::size_t kByteChunks = kWide / kLine;

}  // namespace

Workspace::Workspace(int rows)
    : position(rows),
      stream_(sizeof(float) * kHidden * rows),
      narrow_(kNarrowChunks * room(rows) * kLine),
      broad_(kBroadChunks * room(rows) * kLine),
      bytes_(kByteChunks * room(rows) * kLine),
      codes_(2 * rows),
      rows_(rows) {
    shape(rows);
}

void Workspace::shape(int rows) {
    const std::size_t stride = room(rows) * kLine;
    hidden = {narrow_.data(), stride};
    mixed = hidden;
    qkv = {broad_.data(), stride};
    wide = qkv;
    wide_bytes = {bytes_.data(), stride};
    hidden_code = codes_.data();
    wide_code = codes_.data() + rows_;
}

Scratch::Scratch()
    : keys(kMaxLength * kLine),
      values(kMaxLength * kLine),
      scores(sizeof(float) * kTileRows * kMaxLength),
      weights(kTileRows * kMaxLength * 2),
      sums(sizeof(float) * 32 * (kMaxLength + 32 + 256)) {}

}  // namespace embedrouter

#include "block.h"

#include <algorithm>

namespace embedrouter {
namespace {

std::size_t bytes_of(Format format) {
    return format == Format::kFp32 ? 4 : 2;
}

}  // namespace

Workspace::Workspace(int rows, Format format)
    : position(rows),
      stream_(sizeof(float) * kHidden * rows),
      narrow_(bytes_of(format) * kHidden * room(rows)),
      broad_(bytes_of(format) * kWide * room(rows)),  // wider than qkv
      bytes_(format == Format::kInt8 ? kWide * room(rows) : 0),
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
    : keys(sizeof(float) * kMaxLength * kHeadSize),
      values(sizeof(float) * kMaxLength * kHeadSize),
      scores(sizeof(float) * kTileRows * kMaxLength),
      weights(sizeof(float) * kTileRows * kMaxLength),
      sums(sizeof(float) * 32 * (kMaxLength + 32 + 256)) {}

}  // namespace embedrouter

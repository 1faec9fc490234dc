#include "model.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

namespace embedrouter {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::uint16_t to_bf16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);  // to nearest, ties to even
}

// Where input `k` of output `n` lies; `bytes` is the size of an element.
std::size_t place(int inputs, int n, int k, int bytes) {
    const int per_chunk = static_cast<int>(kLine) / bytes;
    const int per_step = 4 / bytes;
    const std::size_t tile = static_cast<std::size_t>(n / kTileRows) * (inputs / per_chunk) + k / per_chunk;
    const int within = k % per_chunk;
    return tile * kTile + (within / per_step) * kLine + (n % kTileRows) * 4 + (within % per_step) * bytes;
}

void pack_fp32(Linear& packed, int n, const float* row) {
    for (int k = 0; k < packed.inputs; ++k) {
        std::memcpy(packed.tiles.data() + place(packed.inputs, n, k, 4), row + k, 4);
    }
}

void pack_bf16(Linear& packed, int n, const float* row) {
    for (int k = 0; k < packed.inputs; ++k) {
        const std::uint16_t value = to_bf16(row[k]);
        std::memcpy(packed.tiles.data() + place(packed.inputs, n, k, 2), &value, 2);
    }
}

// Symmetric, by output: the largest weight is 127.
void pack_int8(Linear& packed, int n, const float* row) {
    const Kept& kept = packed.kept;
    const auto is_kept = [&](int k) { return std::find(kept.begin(), kept.end(), k) != kept.end(); };
    float largest = 0;
    for (int k = 0; k < packed.inputs; ++k) {
        if (!is_kept(k)) largest = std::max(largest, std::fabs(row[k]));
    }
    const float scale = largest > 0 ? largest / 127 : 1;
    int sum = 0;
    for (int k = 0; k < packed.inputs; ++k) {
        const auto value = is_kept(k) ? std::int8_t{0} : static_cast<std::int8_t>(std::lrintf(row[k] / scale));
        sum += value;
        std::memcpy(packed.tiles.data() + place(packed.inputs, n, k, 1), &value, 1);
    }
    packed.scale[n] = scale;
    packed.sum[n] = scale * static_cast<float>(sum);
    for (int i = 0; i < kKept; ++i) {
        if (packed.kept[i] >= 0) packed.kept_weights[i][n] = row[packed.kept[i]];
    }
}

}  // namespace

Buffer::Buffer(std::size_t bytes) : size_(bytes) {
    if (bytes == 0) return;
#ifdef __SANITIZE_ADDRESS__
    const std::size_t alignment = kLine;  // so that one byte too far is seen
#else
    const std::size_t alignment = bytes >= kHugePage ? kHugePage : 4096;
#endif
    const std::size_t whole = (bytes + alignment - 1) / alignment * alignment;
    auto* data = static_cast<std::byte*>(std::aligned_alloc(alignment, whole));
    if (data == nullptr) throw std::bad_alloc();
    data_.reset(data);
    if (alignment == kHugePage) madvise(data, whole, MADV_HUGEPAGE);  // a wish: without it, it is only slower
    std::memset(data, 0, whole);
}

void Buffer::Free::operator()(std::byte* data) const {
    std::free(data);
}

Linear pack(Format format, const std::vector<Matrix>& parts, const Kept& kept) {
    Linear packed;
    packed.inputs = parts.front().inputs;
    for (const Matrix& part : parts) packed.outputs += part.outputs;
    const int bytes = format == Format::kFp32 ? 4 : format == Format::kBf16 ? 2 : 1;
    packed.tiles = Buffer(static_cast<std::size_t>(packed.inputs) * packed.outputs * bytes);
    if (format == Format::kInt8) {
        packed.kept = kept;
        for (auto& weights : packed.kept_weights) weights.resize(packed.outputs);
        packed.scale.resize(packed.outputs);
        packed.sum.resize(packed.outputs);
    }
    int n = 0;
    for (const Matrix& part : parts) {
        packed.bias.insert(packed.bias.end(), part.bias, part.bias + part.outputs);
        for (int row = 0; row < part.outputs; ++row, ++n) {
            const float* weights = part.weights + static_cast<std::size_t>(row) * part.inputs;
            switch (format) {
                case Format::kFp32: pack_fp32(packed, n, weights); break;
                case Format::kBf16: pack_bf16(packed, n, weights); break;
                case Format::kInt8: pack_int8(packed, n, weights); break;
            }
        }
    }
    return packed;
}

}  // namespace embedrouter

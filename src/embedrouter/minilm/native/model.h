// The weights as the kernels want them: packed once at load.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "layout.h"

namespace embedrouter {

// Memory for large arrays: on huge pages where the system has them, so that streaming weights misses no TLB.
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(std::size_t bytes);  // zeroed

    std::byte* data() const { return data_.get(); }
    float* floats() const { return reinterpret_cast<float*>(data_.get()); }
    std::size_t size() const { return size_; }

private:
    struct Free {
        void operator()(std::byte* data) const;
    };
    std::unique_ptr<std::byte[], Free> data_;
    std::size_t size_ = 0;
};

// A few inputs are so much larger than the others that 255 steps over the whole range would leave the others none. They
// are kept out of the quantised product and multiplied in float32: two columns of a matrix, or none.
constexpr int kKept = 2;
using Kept = std::array<int, kKept>;
constexpr Kept kNone = {-1, -1};

// One weight matrix: y = x W^T + bias.
struct Linear {
    int inputs = 0;
    int outputs = 0;
    Buffer tiles;             // see layout.h
    std::vector<float> bias;  // (outputs)
    // int8 only:
    Kept kept = kNone;
    std::vector<float> kept_weights[kKept];  // (outputs) each, 0 where none is kept
    std::vector<float> scale;                // (outputs) what a quantised weight is worth
    std::vector<float> sum;                  // (outputs) scale times the sum of an output's quantised weights
};

struct Norm {
    std::vector<float> gain;  // (384)
    std::vector<float> bias;  // (384)
};

struct Layer {
    Linear qkv;    // 384 -> 1152: query, key, value
    Linear mixed;  // 384 -> 384: the attention's output
    Norm mixed_norm;
    Linear wide;    // 384 -> 1536
    Linear narrow;  // 1536 -> 384
    Norm narrow_norm;
};

enum class Format { kFp32, kBf16, kInt8 };

struct Model {
    const float* words = nullptr;  // (30522, 384), owned by the caller
    std::vector<float> places;     // (512, 384): position plus the vector of token type 0
    Norm words_norm;
    Kept kept = kNone;  // of the residual stream, int8 only
    Layer layers[kLayers];
};

// A row-major (outputs, inputs) matrix of float32 as its file has it.
struct Matrix {
    const float* weights;
    const float* bias;
    int inputs;
    int outputs;
};

// The matrices' outputs side by side, in one packed matrix. kept: inputs that int8 leaves in float32.
Linear pack(Format format, const std::vector<Matrix>& parts, const Kept& kept);

}  // namespace embedrouter

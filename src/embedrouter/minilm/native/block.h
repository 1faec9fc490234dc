// What is computed at once: whole sequences, packed back to back, small enough that all that is between two layers
// stays in a core's L2 cache. A block goes through the model phase by phase; a phase is cut into units that several
// threads may share. Which thread computes a unit changes no bit of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "layout.h"
#include "model.h"

namespace embedrouter {

// Rows of one sequence inside its block.
struct Span {
    int start;
    int length;
    float* vector;  // (384), where the result goes
};

// What the bytes of a quantised row mean: a value is scale * (byte - zero); and the row's values that are kept apart.
struct Code {
    float scale;
    float zero;
    float kept[kKept];
};

// The activations of one block: float32 or bf16 by the path's format, int8 with bf16 between the GEMMs. A thread that
// leads blocks keeps one for them all.
class Workspace {
public:
    Workspace(int rows, Format format);

    void shape(int rows);  // lays the matrices out for a block of so many rows

    std::vector<int> position;  // (rows) of each token in its sequence

    float* stream(int row) const { return stream_.floats() + static_cast<std::size_t>(row) * kHidden; }

    Lines hidden;      // (rows, 384): what the next GEMM reads
    Lines qkv;         // (rows, 1152)
    Lines mixed;       // (rows, 384): what the attention made; shares memory with `hidden`, which is read by then
    Lines wide;        // (rows, 1536); shares memory with `qkv`, which is read by then
    Lines wide_bytes;  // (rows, 1536) int8: `wide`, quantised
    Code* hidden_code = nullptr;  // (rows) int8 only
    Code* wide_code = nullptr;    // (rows) int8 only

private:
    Buffer stream_;  // (rows, 384) float32, the residual stream
    Buffer narrow_;
    Buffer broad_;
    Buffer bytes_;
    std::vector<Code> codes_;
    int rows_;
};

// What one thread needs within a unit.
struct Scratch {
    Scratch();

    Buffer keys;     // K transposed into weight tiles, of one head of one sequence
    Buffer values;   // V in weight tiles
    Buffer scores;   // (16, 512) float32
    Buffer weights;  // (16, 512) in lines: softmax of the scores
    Buffer sums;     // float32 tiles on their way out of AMX
};

struct Block {
    const std::int32_t* ids = nullptr;  // (rows)
    const Span* spans = nullptr;
    int sequences = 0;
    int rows = 0;
    Workspace* space = nullptr;

    // The next unit to claim: phase in the high half, unit in the low one. At first none, until the leader is ready.
    std::atomic<std::uint64_t> ticket{0x7fffffff};
    std::atomic<int> done{0};       // units of this phase
    std::atomic<int> assistants{0};  // threads beside the leader
    std::atomic<int>* remaining = nullptr;  // blocks of the call
};

// One way to compute the model on one kind of CPU.
struct Path {
    const char* name;
    Format format;
    int rows;    // a block's aim
    int phases;
    const char* (*stage)(int phase);  // what the phase does, for people who measure
    int (*units)(const Block&, int phase);
    void (*run)(const Model&, Block&, Scratch&, int phase, int unit);
    void (*enter)();  // before a thread runs units, and after
    void (*leave)();
};

extern const Path kAvx512Fp32;
extern const Path kAvx512Bf16;
extern const Path kAmxBf16;
extern const Path kVnniInt8;
extern const Path kAmxInt8;

}  // namespace embedrouter

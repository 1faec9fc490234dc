// Sequences of token ids in, unit vectors out.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "block.h"
#include "pool.h"

namespace embedrouter {

// The tensors of model.safetensors that one layer has, in order: query, key, value, attention output, intermediate,
// output, and the two LayerNorms.
struct Tensors {
    struct LayerTensors {
        Matrix query, key, value, mixed, wide, narrow;
        const float *mixed_gain, *mixed_bias, *narrow_gain, *narrow_bias;
    };
    const float* words;   // (30522, 384)
    const float* places;  // (512, 384)
    const float* types;   // (2, 384)
    const float *words_gain, *words_bias;
    LayerTensors layers[kLayers];
};

// The names of the paths that this CPU has, the fastest of each format first.
std::vector<std::string> available_paths();

class Engine {
public:
    // The word vectors of `tensors` must outlive the engine; the rest is copied. threads: 1 or more. Throws
    // std::invalid_argument for a path that there is not or, unless `unchecked`, that this CPU lacks.
    Engine(const Tensors& tensors, const std::string& path, int threads, bool unchecked);
    ~Engine();

    // ids: all sequences' one after another; lengths: (count), 1 to 512 each; vectors: (count, 384).
    // Thread-safe. Throws std::invalid_argument for lengths and ids out of range.
    void embed(const std::int32_t* ids, std::size_t total, const std::int32_t* lengths, std::size_t count,
               float* vectors);

    // The stages of the model, each with the ticks of the time stamp counter that threads have spent in it.
    std::vector<std::pair<std::string, std::uint64_t>> stages();

private:
    Pool& pool();

    Model model_;
    const Path* path_;
    int threads_;
    // Threads do not survive a fork: the child makes itself a new pool. The old one is left alone, since its locks may
    // be held by threads that are not there.
    struct Owned {
        int process;
        Pool pool;
    };
    std::atomic<Owned*> owned_;
};

}  // namespace embedrouter

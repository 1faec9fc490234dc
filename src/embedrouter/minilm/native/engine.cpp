#include "engine.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "cpu.h"

namespace embedrouter {
namespace {

struct Choice {
    const Path* path;
    bool Cpu::*needs;
};

constexpr Choice kChoices[] = {
    {&kAmxBf16, &Cpu::amx_bf16},
    {&kAvx512Bf16, &Cpu::avx512_bf16},
    {&kAvx512Fp32, &Cpu::avx512},
    {&kAmxInt8, &Cpu::amx_int8},
    {&kVnniInt8, &Cpu::avx512_vnni},
};

const Path* find_path(const std::string& name, bool unchecked) {
    const Cpu cpu = find_cpu();
    for (const Choice& choice : kChoices) {
        if (name != choice.path->name) continue;
        if (!unchecked && !(cpu.*choice.needs)) throw std::invalid_argument("this CPU cannot run the path " + name);
        return choice.path;
    }
    throw std::invalid_argument("there is no path " + name);
}

std::vector<float> copy(const float* values, std::size_t count) {
    return {values, values + count};
}

Norm copy_norm(const float* gain, const float* bias) {
    return {copy(gain, kHidden), copy(bias, kHidden)};
}

// The two largest of `count` amounts.
template <class Amount>
Kept largest_two(int count, Amount amount) {
    Kept found = {0, 1};
    double amounts[kKept] = {-1, -1};
    for (int i = 0; i < count; ++i) {
        const double mine = amount(i);
        const int at = mine > amounts[0] ? 0 : mine > amounts[1] ? 1 : kKept;
        if (at == 0) {
            amounts[1] = amounts[0];
            found[1] = found[0];
        }
        if (at < kKept) {
            amounts[at] = mine;
            found[at] = i;
        }
    }
    return found;
}

// The channels of the residual stream that the model writes most to: those whose weights in the layers' last matrices
// have the largest squares.
Kept loud_channels(const Tensors& tensors) {
    return largest_two(kHidden, [&](int channel) {
        double sum = 0;
        for (const Tensors::LayerTensors& layer : tensors.layers) {
            const float* row = layer.narrow.weights + static_cast<std::size_t>(channel) * kWide;
            for (int k = 0; k < kWide; ++k) sum += static_cast<double>(row[k]) * row[k];
        }
        return sum;
    });
}

// The inputs with the largest weight.
Kept heavy_inputs(const Matrix& matrix) {
    return largest_two(matrix.inputs, [&](int input) {
        float largest = 0;
        for (int n = 0; n < matrix.outputs; ++n) {
            largest = std::max(largest, std::fabs(matrix.weights[static_cast<std::size_t>(n) * matrix.inputs + input]));
        }
        return static_cast<double>(largest);
    });
}

Model make_model(const Tensors& tensors, Format format) {
    Model model;
    model.words = tensors.words;
    model.places = copy(tensors.places, std::size_t{kMaxLength} * kHidden);
    for (std::size_t i = 0; i < model.places.size(); ++i) model.places[i] += tensors.types[i % kHidden];
    model.words_norm = copy_norm(tensors.words_gain, tensors.words_bias);
    const bool keeps = format == Format::kInt8;
    if (keeps) model.kept = loud_channels(tensors);
    for (int i = 0; i < kLayers; ++i) {
        const Tensors::LayerTensors& from = tensors.layers[i];
        Layer& layer = model.layers[i];
        layer.qkv = pack(format, {from.query, from.key, from.value}, model.kept);
        layer.mixed = pack(format, {from.mixed}, kNone);
        layer.mixed_norm = copy_norm(from.mixed_gain, from.mixed_bias);
        layer.wide = pack(format, {from.wide}, model.kept);
        layer.narrow = pack(format, {from.narrow}, keeps ? heavy_inputs(from.narrow) : kNone);
        layer.narrow_norm = copy_norm(from.narrow_gain, from.narrow_bias);
    }
    return model;
}

// Sequences in their order, as many to a block as the path likes; a longer sequence is a block of its own.
std::vector<Span> cut(const std::int32_t* lengths, std::size_t count, float* vectors, int rows,
                      std::vector<std::size_t>& firsts) {
    std::vector<Span> spans(count);
    int start = rows;  // full: the first sequence begins a block
    for (std::size_t i = 0; i < count; ++i) {
        if (start + lengths[i] > rows) {
            firsts.push_back(i);
            start = 0;
        }
        spans[i] = {start, lengths[i], vectors + i * kHidden};
        start += lengths[i];
    }
    return spans;
}

}  // namespace

std::vector<std::string> available_paths() {
    const Cpu cpu = find_cpu();
    std::vector<std::string> names;
    for (const Choice& choice : kChoices) {
        if (cpu.*choice.needs) names.emplace_back(choice.path->name);
    }
    return names;
}

Engine::Engine(const Tensors& tensors, const std::string& path, int threads, bool unchecked)
    : path_(find_path(path, unchecked)), threads_(threads) {
    if (threads < 1) throw std::invalid_argument("threads must be 1 or more");
    model_ = make_model(tensors, path_->format);
    owned_ = new Owned{getpid(), {model_, *path_, threads_}};
}

Engine::~Engine() {
    if (owned_.load()->process == getpid()) delete owned_.load();
}

Pool& Engine::pool() {
    Owned* owned = owned_;
    const int process = getpid();
    if (owned->process == process) return owned->pool;
    auto* mine = new Owned{process, {model_, *path_, threads_}};
    if (owned_.compare_exchange_strong(owned, mine)) return mine->pool;
    delete mine;  // another thread of this child was faster
    return owned->pool;
}

std::vector<std::pair<std::string, std::uint64_t>> Engine::stages() {
    std::vector<std::pair<std::string, std::uint64_t>> stages;
    const std::vector<std::uint64_t> ticks = pool().ticks();
    for (int phase = 0; phase < path_->phases; ++phase) stages.emplace_back(path_->stage(phase), ticks[phase]);
    return stages;
}

void Engine::embed(const std::int32_t* ids, std::size_t total, const std::int32_t* lengths, std::size_t count,
                   float* vectors) {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (lengths[i] < 1 || lengths[i] > kMaxLength) throw std::invalid_argument("a sequence has 1 to 512 ids");
        sum += lengths[i];
    }
    if (sum != total) throw std::invalid_argument("the lengths must add up to the number of ids");
    const bool known = std::all_of(ids, ids + total, [](std::int32_t id) { return id >= 0 && id < kVocabulary; });
    if (!known) throw std::invalid_argument("ids must be 0 to 30521");

    std::vector<std::size_t> firsts;
    const std::vector<Span> spans = cut(lengths, count, vectors, path_->rows, firsts);
    std::vector<Block> blocks(firsts.size());
    for (std::size_t b = 0; b < blocks.size(); ++b) {
        const std::size_t end = b + 1 < blocks.size() ? firsts[b + 1] : count;
        const Span& last = spans[end - 1];
        blocks[b].spans = &spans[firsts[b]];
        blocks[b].sequences = static_cast<int>(end - firsts[b]);
        blocks[b].rows = last.start + last.length;
        blocks[b].ids = ids;
        ids += blocks[b].rows;
    }
    pool().compute(blocks.data(), static_cast<int>(blocks.size()));
}

}  // namespace embedrouter

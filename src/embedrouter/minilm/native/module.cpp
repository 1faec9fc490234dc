// The Python face of the engine.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "engine.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace embedrouter {
namespace {

using Array = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Vectors = nb::ndarray<float, nb::shape<-1, kHidden>, nb::c_contig, nb::device::cpu>;

// The tensors of model.safetensors by name, each checked for its shape.
class Reader {
public:
    explicit Reader(nb::dict tensors) : tensors_(std::move(tensors)) {}

    const float* take(const std::string& name, std::size_t rows, std::size_t columns) const {
        const Array array = find(name);
        if (array.ndim() != 2 || array.shape(0) != rows || array.shape(1) != columns) refuse(name);
        return array.data();
    }
    const float* take(const std::string& name, std::size_t count) const {
        const Array array = find(name);
        if (array.ndim() != 1 || array.shape(0) != count) refuse(name);
        return array.data();
    }
    Matrix linear(const std::string& name, int outputs, int inputs) const {
        return {take(name + ".weight", outputs, inputs), take(name + ".bias", outputs), inputs, outputs};
    }

private:
    Array find(const std::string& name) const {
        if (!tensors_.contains(name.c_str())) throw nb::value_error(("the weights lack " + name).c_str());
        Array array;
        if (!nb::try_cast(tensors_[name.c_str()], array, /*convert=*/false)) {
            throw nb::value_error((name + " is not an array of float32").c_str());
        }
        return array;
    }
    [[noreturn]] static void refuse(const std::string& name) {
        throw nb::value_error((name + " has another shape than all-MiniLM-L6-v2's").c_str());
    }

    nb::dict tensors_;
};

Tensors read(const nb::dict& given) {
    const Reader reader(given);
    Tensors tensors{};
    tensors.words = reader.take("embeddings.word_embeddings.weight", kVocabulary, kHidden);
    tensors.places = reader.take("embeddings.position_embeddings.weight", kMaxLength, kHidden);
    tensors.types = reader.take("embeddings.token_type_embeddings.weight", 2, kHidden);
    tensors.words_gain = reader.take("embeddings.LayerNorm.weight", kHidden);
    tensors.words_bias = reader.take("embeddings.LayerNorm.bias", kHidden);
    for (int i = 0; i < kLayers; ++i) {
        const std::string prefix = "encoder.layer." + std::to_string(i) + ".";
        Tensors::LayerTensors& layer = tensors.layers[i];
        layer.query = reader.linear(prefix + "attention.self.query", kHidden, kHidden);
        layer.key = reader.linear(prefix + "attention.self.key", kHidden, kHidden);
        layer.value = reader.linear(prefix + "attention.self.value", kHidden, kHidden);
        layer.mixed = reader.linear(prefix + "attention.output.dense", kHidden, kHidden);
        layer.mixed_gain = reader.take(prefix + "attention.output.LayerNorm.weight", kHidden);
        layer.mixed_bias = reader.take(prefix + "attention.output.LayerNorm.bias", kHidden);
        layer.wide = reader.linear(prefix + "intermediate.dense", kWide, kHidden);
        layer.narrow = reader.linear(prefix + "output.dense", kHidden, kWide);
        layer.narrow_gain = reader.take(prefix + "output.LayerNorm.weight", kHidden);
        layer.narrow_bias = reader.take(prefix + "output.LayerNorm.bias", kHidden);
    }
    return tensors;
}

// Keeps the word vectors' array, which the engine reads where it lies.
struct PythonEngine {
    PythonEngine(const nb::dict& tensors, const std::string& path, int threads, bool unchecked)
        : engine(read(tensors), path, threads, unchecked), words(tensors["embeddings.word_embeddings.weight"]) {}

    void embed(const Ids& ids, const Ids& lengths, const Vectors& vectors) {
        if (vectors.shape(0) != lengths.shape(0)) throw nb::value_error("there must be a vector for each length");
        const nb::gil_scoped_release released;
        engine.embed(ids.data(), ids.shape(0), lengths.data(), lengths.shape(0), vectors.data());
    }

    // Ticks by stage, all layers together.
    nb::dict stages() {
        nb::dict sums;
        for (const auto& [stage, ticks] : engine.stages()) {
            const char* name = stage.c_str();
            sums[name] = ticks + (sums.contains(name) ? nb::cast<std::uint64_t>(sums[name]) : 0);
        }
        return sums;
    }

    Engine engine;
    nb::object words;
};

}  // namespace
}  // namespace embedrouter

NB_MODULE(_native, m) {
    using embedrouter::PythonEngine;
    nb::set_leak_warnings(false);  // a model that lives until the interpreter ends is no mistake
    m.def("available_paths", &embedrouter::available_paths);
    nb::class_<PythonEngine>(m, "Engine")
        .def(nb::init<const nb::dict&, const std::string&, int, bool>(), "tensors"_a, "path"_a, "threads"_a,
             "unchecked"_a = false)
        .def("stages", &PythonEngine::stages)
        .def("embed", &PythonEngine::embed, "ids"_a.noconvert(), "lengths"_a.noconvert(), "vectors"_a.noconvert());
}

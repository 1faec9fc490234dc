// The road of a block through the model, over the GEMM and the attention of one instruction path.
//
// A `Kernel` has:
//   kFormat                the format of its weights
//   Element                the format of activations between GEMMs: store, load, gelu (see bf16.h)
//   kTiles                 weight tiles of 16 outputs in one unit of a GEMM
//   gemm(lines, rows, codes, linear, first, scratch, finish)
//                          multiplies `rows` rows by the tiles from `first`, and calls finish(row, column, values) for each
//                          row and each 16 columns; codes: of the rows, int8 only
//   attend(block, span, head, scratch)
//                          softmax(Q K^T) V of one head of one sequence
#pragma once

#include <algorithm>

#include "rows.h"

namespace embedrouter {
namespace {

enum Step {
    kQkvStep,
    kAttend,
    kMixedBytes,
    kMixedStep,
    kMixedNorm,
    kWideStep,
    kWideBytes,
    kNarrowStep,
    kNarrowNorm,
    kSteps
};

constexpr int kPhases = 2 + kLayers * kSteps;  // embedding first, pooling last

template <class Kernel>
struct Forward {
    using Element = typename Kernel::Element;
    static constexpr bool kQuantised = Kernel::kFormat == Format::kInt8;

    static int units(const Block& block, int phase) {
        if (phase == 0) return strips(block);
        if (phase == kPhases - 1) return block.sequences;
        switch (static_cast<Step>((phase - 1) % kSteps)) {
            case kQkvStep: return panels(kQkv);
            case kAttend: return block.sequences * kHeads;
            case kMixedStep:
            case kNarrowStep: return panels(kHidden);
            case kWideStep: return panels(kWide);
            case kMixedNorm:
            case kNarrowNorm: return strips(block);
            case kMixedBytes:
            case kWideBytes: return kQuantised ? strips(block) : 0;
            default: return 0;
        }
    }

    static const char* stage(int phase) {
        if (phase == 0) return "embedding";
        if (phase == kPhases - 1) return "pooling";
        constexpr const char* kNames[kSteps] = {"qkv",        "attention",    "quantise", "attention output",
                                                "layer norm", "intermediate", "quantise", "output",
                                                "layer norm"};
        return kNames[(phase - 1) % kSteps];
    }

    static void run(const Model& model, Block& block, Scratch& scratch, int phase, int unit) {
        if (phase == 0) return embed(model, block, unit);
        Workspace& space = *block.space;
        if (phase == kPhases - 1) {
            const Span& span = block.spans[unit];
            return pool(space.stream(span.start), span.length, span.vector);
        }
        const Layer& layer = model.layers[(phase - 1) / kSteps];
        switch (static_cast<Step>((phase - 1) % kSteps)) {
            case kQkvStep:
                return gemm(block, space.hidden, space.hidden_code, layer.qkv, unit, scratch,
                            [&](int row, int column, Floats values) {
                                Element::store(space.qkv, row, column, values);
                            });
            case kAttend:
                return Kernel::attend(space, block.spans[unit / kHeads], unit % kHeads, scratch);
            case kMixedBytes:
                return each_row(block, unit, [&](int row) {
                    quantise_lines(space.mixed, kHidden, kNone, space, row);
                });
            case kMixedStep:
                return residual(block, kQuantised ? space.wide_bytes : space.mixed, layer.mixed, unit, scratch);
            case kMixedNorm:
                return normalise(model, block, unit, layer.mixed_norm);
            case kWideStep:
                return gemm(block, space.hidden, space.hidden_code, layer.wide, unit, scratch,
                            [&](int row, int column, Floats values) {
                                Element::store(space.wide, row, column, Element::gelu(values));
                            });
            case kWideBytes:
                return each_row(block, unit, [&](int row) {
                    quantise_lines(space.wide, kWide, layer.narrow.kept, space, row);
                });
            case kNarrowStep:
                return residual(block, kQuantised ? space.wide_bytes : space.wide, layer.narrow, unit, scratch);
            case kNarrowNorm:
                return normalise(model, block, unit, layer.narrow_norm);
            default: return;
        }
    }

private:
    static int panels(int outputs) { return outputs / (kTileRows * Kernel::kTiles); }
    static int strips(const Block& block) { return (block.rows + kTileRows - 1) / kTileRows; }

    template <class Row>
    static void each_row(const Block& block, int strip, Row row) {
        const int end = std::min(block.rows, (strip + 1) * kTileRows);
        for (int r = strip * kTileRows; r < end; ++r) row(r);
    }

    template <class Finish>
    static void gemm(Block& block, const Lines& lines, const Code* codes, const Linear& linear, int unit,
                     Scratch& scratch, Finish finish) {
        Kernel::gemm(lines, block.rows, codes, linear, unit * Kernel::kTiles, scratch, finish);
    }

    // The product is added to the residual stream.
    static void residual(Block& block, const Lines& lines, const Linear& linear, int unit, Scratch& scratch) {
        const Workspace& space = *block.space;
        gemm(block, lines, space.wide_code, linear, unit, scratch,
             [&](int row, int column, Floats values) __attribute__((always_inline)) {
                 float* stream = space.stream(row) + column;
                 _mm512_storeu_ps(stream, _mm512_add_ps(values, _mm512_loadu_ps(stream)));
             });
    }

    static void embed(const Model& model, Block& block, int strip) {
        Workspace& space = *block.space;
        each_row(block, strip, [&](int row) {
            embed_token(model, block.ids[row], space.position[row], space.stream(row));
        });
        normalise(model, block, strip, model.words_norm);
    }

    // LayerNorm of a strip of the stream, and what the next GEMM reads of it.
    static void normalise(const Model& model, Block& block, int strip, const Norm& norm) {
        Workspace& space = *block.space;
        const int first = strip * kTileRows;
        const int rows = std::min(kTileRows, block.rows - first);
        if constexpr (kQuantised) {
            layer_norm(space.stream(first), rows, norm, [](int, int, Floats) {});
            each_row(block, strip, [&](int row) {
                float values[kHidden];
                std::memcpy(values, space.stream(row), sizeof(values));
                space.hidden_code[row] = quantise(values, kHidden, model.kept, space.hidden, row);
            });
        } else {
            layer_norm(space.stream(first), rows, norm, [&](int row, int column, Floats values) {
                Element::store(space.hidden, first + row, column, values);
            });
        }
    }

    // A row of lines, which lie where `wide_bytes` does not, into `wide_bytes`.
    static void quantise_lines(const Lines& lines, int columns, const Kept& kept, Workspace& space, int row) {
        float values[kWide];
        for (int i = 0; i < columns; i += 16) _mm512_storeu_ps(values + i, Element::load(lines, row, i));
        space.wide_code[row] = quantise(values, columns, kept, space.wide_bytes, row);
    }
};

template <class Kernel>
constexpr Path make_path(const char* name, int rows, void (*enter)(), void (*leave)()) {
    using Road = Forward<Kernel>;
    return {name, Kernel::kFormat, rows, kPhases, Road::stage, Road::units, Road::run, enter, leave};
}

}  // namespace
}  // namespace embedrouter

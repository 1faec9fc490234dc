// AMX-INT8: TDPBUSD multiplies 16 rows by 16 outputs over 64 inputs, 32,768 operations an instruction.

#include "amx.h"

namespace embedrouter {
namespace {

struct Gemm {
    static constexpr Format kFormat = Format::kInt8;
    static constexpr int kInputs = 64;

    static void step(bool pair) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        if (!pair) return;
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    static Floats floats(const float* sums, const Linear& linear, int column, const Code* code) {
        return dequantise(_mm512_loadu_si512(sums), linear, column, *code);
    }
};

}  // namespace

const Path kAmxInt8 = make_path<AmxKernel<Gemm>>("amx-int8", 256, enter_tiles, leave_tiles);

}  // namespace embedrouter

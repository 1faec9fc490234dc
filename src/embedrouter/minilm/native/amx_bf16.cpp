// AMX-BF16: TDPBF16PS multiplies 16 rows by 16 outputs over 32 inputs, 16,384 operations an instruction.

#include "amx.h"

namespace embedrouter {
namespace {

struct Gemm {
    static constexpr Format kFormat = Format::kBf16;
    static constexpr int kInputs = 32;

    static void step(bool pair) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (!pair) return;
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    static Floats floats(const float* sums, const Linear& linear, int column, const Code*) {
        return _mm512_add_ps(_mm512_loadu_ps(sums), _mm512_loadu_ps(linear.bias.data() + column));
    }
};

}  // namespace

const Path kAmxBf16 = make_path<AmxKernel<Gemm>>("amx-bf16", 256, enter_tiles, leave_tiles);

}  // namespace embedrouter

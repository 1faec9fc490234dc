// AVX512-BF16: VDPBF16PS multiplies 16 pairs of bf16 values by another 16, 64 operations an instruction.

#include "avx512.h"
#include "bf16.h"

namespace embedrouter {
namespace {

struct Gemm : Bf16 {
    using Element = Bf16;
    static constexpr Format kFormat = Format::kBf16;
    static constexpr int kInputs = 32;

    static ALWAYS_INLINE Floats floats(Sums sums, const Linear& linear, int column, const Code*) {
        return _mm512_add_ps(sums, _mm512_loadu_ps(linear.bias.data() + column));
    }
};

}  // namespace

const Path kAvx512Bf16 = make_path<Avx512Kernel<Gemm>>("avx512-bf16", 128, nothing, nothing);

}  // namespace embedrouter

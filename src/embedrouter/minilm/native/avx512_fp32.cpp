// AVX-512: an FMA multiplies 16 float32 values by another 16, 32 operations an instruction.

#include "avx512.h"
#include "fp32.h"

namespace embedrouter {
namespace {

struct Gemm : Fp32 {
    using Element = Fp32;
    static constexpr Format kFormat = Format::kFp32;
    static constexpr int kInputs = 16;

    static ALWAYS_INLINE Floats floats(Sums sums, const Linear& linear, int column, const Code*) {
        return _mm512_add_ps(sums, _mm512_loadu_ps(linear.bias.data() + column));
    }
};

}  // namespace

const Path kAvx512Fp32 = make_path<Avx512Kernel<Gemm>>("avx512-fp32", 128, nothing, nothing);

}  // namespace embedrouter

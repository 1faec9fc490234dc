// AVX512-VNNI: VPDPBUSD multiplies 16 times 4 unsigned by 4 signed bytes, 128 operations an instruction.

#include "avx512.h"
#include "bf16.h"

namespace embedrouter {
namespace {

struct Gemm {
    using Element = Bf16;
    using Sums = __v16si;  // not __m512i: GCC 12 would copy the sums from register to register
    static constexpr Format kFormat = Format::kInt8;
    static constexpr int kInputs = 64;

    static Sums zero() { return Sums{}; }
    static ALWAYS_INLINE Sums add(Sums sums, __m512i inputs, __m512i weights) {
        return (Sums)_mm512_dpbusd_epi32((__m512i)sums, inputs, weights);
    }
    static ALWAYS_INLINE Floats floats(Sums sums, const Linear& linear, int column, const Code* code) {
        return dequantise((__m512i)sums, linear, column, *code);
    }
};

}  // namespace

const Path kVnniInt8 = make_path<Avx512Kernel<Gemm>>("vnni-int8", 128, nothing, nothing);

}  // namespace embedrouter

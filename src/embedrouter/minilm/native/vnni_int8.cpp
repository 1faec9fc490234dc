// AVX512-VNNI: VPDPBUSD multiplies 16 times 4 unsigned by 4 signed bytes, 128 operations an instruction.

#include "avx512.h"

namespace embedrouter {
namespace {

struct Int8 {
    using Sums = __m512i;
    static constexpr Format kFormat = Format::kInt8;
    static constexpr int kInputs = 64;

    static Sums zero() { return _mm512_setzero_si512(); }
    static ALWAYS_INLINE Sums add(Sums sums, __m512i inputs, __m512i weights) {
        return _mm512_dpbusd_epi32(sums, inputs, weights);
    }
    static ALWAYS_INLINE Floats floats(Sums sums, const Linear& linear, int column, const float* scale) {
        return dequantise(sums, linear, column, *scale);
    }
};

}  // namespace

const Path kVnniInt8 = make_path<Avx512Kernel<Int8>>("vnni-int8", 128, nothing, nothing);

}  // namespace embedrouter

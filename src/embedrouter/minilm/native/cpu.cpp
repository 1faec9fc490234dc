#include "cpu.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace embedrouter {
namespace {

struct Registers {
    unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers ask(unsigned leaf, unsigned part) {
    Registers r;
    if (!__get_cpuid_count(leaf, part, &r.a, &r.b, &r.c, &r.d)) return {};
    return r;
}

bool has(unsigned value, int bit) {
    return (value >> bit) & 1;
}

// The register states that the system saves when it switches threads.
std::uint64_t saved_states() {
    if (!has(ask(1, 0).c, 27)) return 0;  // OSXSAVE
    std::uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return static_cast<std::uint64_t>(high) << 32 | low;
}

// Linux lets a process use tiles only after it has asked, once for all its threads.
bool ask_for_tiles() {
    constexpr int kRequest = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr int kTileData = 18;
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace

Cpu find_cpu() {
    constexpr std::uint64_t kAvx512States = 0xe6;  // SSE, AVX, masks, upper halves, upper registers
    constexpr std::uint64_t kTileStates = 0x60000;
    const std::uint64_t states = saved_states();
    const Registers seven = ask(7, 0);
    const Registers seven_one = ask(7, 1);
    Cpu cpu;
    // AVX2, BMI2, AVX512 F, DQ, BW, VL; FMA
    cpu.avx512 = (states & kAvx512States) == kAvx512States && has(seven.b, 5) && has(seven.b, 8) && has(seven.b, 16) &&
                 has(seven.b, 17) && has(seven.b, 30) && has(seven.b, 31) && has(ask(1, 0).c, 12);
    cpu.avx512_bf16 = cpu.avx512 && has(seven_one.a, 5);
    cpu.avx512_vnni = cpu.avx512_bf16 && has(seven.c, 11);
    const bool tiles = cpu.avx512_bf16 && (states & kTileStates) == kTileStates && has(seven.d, 24) && ask_for_tiles();
    cpu.amx_bf16 = tiles && has(seven.d, 22);
    cpu.amx_int8 = tiles && has(seven.d, 25);
    return cpu;
}

}  // namespace embedrouter

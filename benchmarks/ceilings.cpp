// What one core of this machine can do at most: multiply-adds from registers, and reading from each level of memory.
// Prints one JSON object. Built and run by engine.py.

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

// The best of several runs of `body`, which does `operations`, in operations a second.
template <class Body>
double best_rate(double operations, Body body) {
    double best = 0;
    for (int round = 0; round < 7; ++round) {
        const auto start = Clock::now();
        body();
        best = std::max(best, operations / seconds_since(start));
    }
    return best;
}

constexpr int kSums = 16;  // independent ones, more than a multiply-add takes cycles
constexpr long kSteps = 400'000;

#define VECTORS __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,avx512vnni")))
#define TILES __attribute__((target("avx512f,amx-tile,amx-bf16,amx-int8")))

// One instruction with each of 16 registers as its sum. The compiler must not put a sum into memory.
#define EACH(op)                                                                                          \
    op " %%zmm31, %%zmm31, %%zmm0\n" op " %%zmm31, %%zmm31, %%zmm1\n" op " %%zmm31, %%zmm31, %%zmm2\n"    \
    op " %%zmm31, %%zmm31, %%zmm3\n" op " %%zmm31, %%zmm31, %%zmm4\n" op " %%zmm31, %%zmm31, %%zmm5\n"    \
    op " %%zmm31, %%zmm31, %%zmm6\n" op " %%zmm31, %%zmm31, %%zmm7\n" op " %%zmm31, %%zmm31, %%zmm8\n"    \
    op " %%zmm31, %%zmm31, %%zmm9\n" op " %%zmm31, %%zmm31, %%zmm10\n" op " %%zmm31, %%zmm31, %%zmm11\n"  \
    op " %%zmm31, %%zmm31, %%zmm12\n" op " %%zmm31, %%zmm31, %%zmm13\n" op " %%zmm31, %%zmm31, %%zmm14\n" \
    op " %%zmm31, %%zmm31, %%zmm15\n"
#define REPEAT(op)                                                                                            \
    asm volatile("vpxorq %%zmm31, %%zmm31, %%zmm31\n" : : : "xmm31");                                         \
    for (long i = 0; i < kSteps; ++i)                                                                         \
    asm volatile(EACH(op) : : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",       \
                 "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

VECTORS void multiply_fp32() { REPEAT("vfmadd231ps"); }
VECTORS void multiply_bf16() { REPEAT("vdpbf16ps"); }
VECTORS void multiply_int8() { REPEAT("vpdpbusd"); }

TILES void configure_tiles() {
    alignas(64) std::uint8_t config[64] = {1};
    for (int tile = 0; tile < 8; ++tile) {
        config[16 + 2 * tile] = 64;
        config[48 + tile] = 16;
    }
    asm volatile("" ::: "memory");
    _tile_loadconfig(config);
}

constexpr long kTileSteps = 200'000;

TILES void multiply_tiles_bf16() {
    for (long i = 0; i < kTileSteps; ++i) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

TILES void multiply_tiles_int8() {
    for (long i = 0; i < kTileSteps; ++i) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
}

__attribute__((target("avx512f"))) void read(const std::byte* from, std::size_t bytes, long times) {
    for (long t = 0; t < times; ++t) {
        for (const std::byte* at = from; at < from + bytes; at += 256) {
            asm volatile(
                "vmovups (%0), %%zmm0\n vmovups 64(%0), %%zmm1\n vmovups 128(%0), %%zmm2\n vmovups 192(%0), %%zmm3\n"
                :
                : "r"(at)
                : "xmm0", "xmm1", "xmm2", "xmm3", "memory");
        }
    }
}

double read_rate(std::size_t bytes) {
    constexpr std::size_t kHuge = std::size_t{2} << 20;
    const std::size_t whole = (bytes + kHuge - 1) / kHuge * kHuge;
    auto* memory = static_cast<std::byte*>(std::aligned_alloc(kHuge, whole));
    madvise(memory, whole, MADV_HUGEPAGE);
    std::memset(memory, 1, whole);
    const long times = std::max<long>(1, (std::size_t{256} << 20) / bytes);
    const double rate = best_rate(static_cast<double>(bytes) * times, [&] { read(memory, bytes, times); });
    std::free(memory);
    return rate;
}

// Ticks of the time stamp counter a second: the engine counts its stages in them.
double tick_rate() {
    const auto start = Clock::now();
    const std::uint64_t first = __rdtsc();
    usleep(200'000);
    return static_cast<double>(__rdtsc() - first) / seconds_since(start);
}

}  // namespace

int main() {
    __builtin_cpu_init();
    std::printf("{\"ticks_per_second\": %.0f", tick_rate());
    if (__builtin_cpu_supports("avx512f")) {
        std::printf(", \"fp32\": %.0f", best_rate(32.0 * kSums * kSteps, multiply_fp32));
        constexpr std::pair<const char*, int> kLevels[] = {
            {"L1", 24 << 10}, {"L2", 640 << 10}, {"L3", 21 << 20}, {"memory", 512 << 20}};
        for (const auto& [name, bytes] : kLevels) {
            std::printf(", \"read %s\": %.0f", name, read_rate(static_cast<std::size_t>(bytes)));
        }
    }
    if (__builtin_cpu_supports("avx512bf16"))
        std::printf(", \"bf16\": %.0f", best_rate(64.0 * kSums * kSteps, multiply_bf16));
    if (__builtin_cpu_supports("avx512vnni"))
        std::printf(", \"int8\": %.0f", best_rate(128.0 * kSums * kSteps, multiply_int8));
    constexpr int kRequest = 0x1023;  // ARCH_REQ_XCOMP_PERM
    if (__builtin_cpu_supports("amx-tile") && syscall(SYS_arch_prctl, kRequest, 18) == 0) {
        configure_tiles();
        std::printf(", \"tiles bf16\": %.0f", best_rate(4 * 16384.0 * kTileSteps, multiply_tiles_bf16));
        std::printf(", \"tiles int8\": %.0f", best_rate(4 * 32768.0 * kTileSteps, multiply_tiles_int8));
    }
    std::printf("}\n");
}

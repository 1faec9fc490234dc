// SPDX-License-Identifier: Apache-2.0
//
// Runs real AMX instructions through the emulator and compares with plain loops.
//
//   g++ -O2 -std=c++20 -mamx-tile -mamx-bf16 -mamx-int8 test_amx_emulator.cpp
//       -L. -lamx_emulator -Wl,-rpath,'$ORIGIN' -pthread -o test_amx_emulator

#include <immintrin.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

extern "C" int amx_emulator_install();
extern "C" unsigned long amx_emulator_count();
extern "C" void amx_emulator_uninstall();

namespace {

#define CHECK(condition)                                                           \
    do {                                                                           \
        if (!(condition)) {                                                        \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            _exit(1);                                                              \
        }                                                                          \
    } while (0)

struct Config {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved_low[14] = {};
    uint16_t colsb[16] = {};
    uint8_t rows[16] = {};

    Config() = default;
    // Tile 0 is C (m x n words), tile 1 is A (m x k), tile 2 is B (k x n).
    Config(int m, int n, int k)
    {
        set(0, m, 4 * n);
        set(1, m, 4 * k);
        set(2, k, 4 * n);
    }
    void set(int tile, int tile_rows, int tile_colsb)
    {
        rows[tile] = static_cast<uint8_t>(tile_rows);
        colsb[tile] = static_cast<uint16_t>(tile_colsb);
    }
};
static_assert(sizeof(Config) == 64);

// GCC 12's intrinsics do not tell the compiler that they read memory.
void barrier() { asm volatile("" ::: "memory"); }

void load_config(const Config& config)
{
    barrier();
    _tile_loadconfig(&config);
    barrier();
}

enum Kind { kBf16, kSsd, kSud, kUsd, kUud };

void tile_product(Kind kind, const Config& config, const char* a, int64_t a_stride, const char* b,
                  int64_t b_stride, char* c, int64_t c_stride)
{
    load_config(config);
    _tile_loadd(0, c, c_stride);
    _tile_loadd(1, a, a_stride);
    _tile_stream_loadd(2, b, b_stride);
    switch (kind) {
    case kBf16: _tile_dpbf16ps(0, 1, 2); break;
    case kSsd: _tile_dpbssd(0, 1, 2); break;
    case kSud: _tile_dpbsud(0, 1, 2); break;
    case kUsd: _tile_dpbusd(0, 1, 2); break;
    case kUud: _tile_dpbuud(0, 1, 2); break;
    }
    _tile_stored(0, c, c_stride);
    _tile_release();
    barrier();
}

float from_bf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }
uint16_t to_bf16(float value) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16); }

template <class T>
T read(const char* p)
{
    T value;
    memcpy(&value, p, sizeof value);
    return value;
}

// One random product of random shape, strides and contents.
void check_random_product(std::mt19937& random, Kind kind, bool small_integers)
{
    auto between = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
    const int m = between(1, 16), n = between(1, 16), k = between(1, 16);
    const int a_stride = 4 * k + between(0, 40), b_stride = 4 * n + between(0, 40), c_stride = 4 * n + between(0, 40);
    std::vector<char> a(16 * 128), b(16 * 128), c(16 * 128);
    auto fill = [&](std::vector<char>& bytes, bool fp32) {
        for (char& byte : bytes) byte = static_cast<char>(between(0, 255));
        if (kind != kBf16) return;
        for (size_t i = 0; i + 4 <= bytes.size(); i += fp32 ? 4 : 2) {
            const float value = small_integers ? between(-64, 64) : std::normal_distribution<float>()(random);
            if (fp32) {
                memcpy(&bytes[i], &value, 4);
            } else {
                const uint16_t narrow = to_bf16(value);
                memcpy(&bytes[i], &narrow, 2);
            }
        }
    };
    fill(a, false);
    fill(b, false);
    fill(c, true);
    // Odd strides would tear the random values of fp32/bf16 arrays apart into
    // NaNs: re-lay the rows out for those.
    auto relay = [&](std::vector<char>& bytes, int rows, int colsb, int stride) {
        std::vector<char> out(bytes.size(), char(0x5A));
        for (int r = 0; r < rows; ++r) memcpy(&out[r * stride], &bytes[r * 64], colsb);
        bytes = out;
    };
    relay(a, m, 4 * k, a_stride);
    relay(b, k, 4 * n, b_stride);
    relay(c, m, 4 * n, c_stride);

    std::vector<char> expected = c;
    std::vector<double> magnitude(16 * 16);
    for (int row = 0; row < m; ++row)
        for (int column = 0; column < n; ++column) {
            char* const cell = &expected[row * c_stride + 4 * column];
            if (kind == kBf16) {
                // In the order of the SDM, so equal to the bit.
                float even = 0, odd = 0;
                for (int i = 0; i < k; ++i) {
                    const char* pa = &a[row * a_stride + 4 * i];
                    const char* pb = &b[i * b_stride + 4 * column];
                    even = std::fma(from_bf16(read<uint16_t>(pa)), from_bf16(read<uint16_t>(pb)), even);
                    odd = std::fma(from_bf16(read<uint16_t>(pa + 2)), from_bf16(read<uint16_t>(pb + 2)), odd);
                }
                const float sum = even + odd;
                const float result = read<float>(cell) + sum;
                // And near to the true value, whatever the order.
                double exact = read<float>(cell), scale = std::fabs(exact);
                for (int i = 0; i < k; ++i)
                    for (int half = 0; half < 2; ++half) {
                        const double product =
                            double{from_bf16(read<uint16_t>(&a[row * a_stride + 4 * i + 2 * half]))} *
                            from_bf16(read<uint16_t>(&b[i * b_stride + 4 * column + 2 * half]));
                        exact += product;
                        scale += std::fabs(product);
                    }
                CHECK(std::fabs(exact - result) <= scale * 1e-5);
                if (small_integers) CHECK(exact == result);
                memcpy(cell, &result, 4);
            } else {
                int64_t sum = read<int32_t>(cell);
                for (int i = 0; i < k; ++i)
                    for (int j = 0; j < 4; ++j) {
                        const char x = a[row * a_stride + 4 * i + j], y = b[i * b_stride + 4 * column + j];
                        const int left = kind == kSsd || kind == kSud ? (signed char)x : (unsigned char)x;
                        const int right = kind == kSsd || kind == kUsd ? (signed char)y : (unsigned char)y;
                        sum += left * right;
                    }
                const auto result = static_cast<uint32_t>(sum);  // Wraps, as the hardware does.
                memcpy(cell, &result, 4);
            }
        }
    tile_product(kind, Config(m, n, k), a.data(), a_stride, b.data(), b_stride, c.data(), c_stride);
    CHECK(c == expected);  // The bytes between the rows included.
}

void check_products(unsigned seed, int rounds)
{
    std::mt19937 random(seed);
    for (int round = 0; round < rounds; ++round) {
        for (Kind kind : {kSsd, kSud, kUsd, kUud}) check_random_product(random, kind, false);
        check_random_product(random, kBf16, true);
        check_random_product(random, kBf16, false);
    }
}

// One row of A against one column of B, by pairs (even, odd).
float bf16_dot(float c, const std::vector<uint16_t>& a, const std::vector<uint16_t>& b)
{
    const int k = static_cast<int>(a.size() / 2);
    tile_product(kBf16, Config(1, 1, k), reinterpret_cast<const char*>(a.data()), 64,
                 reinterpret_cast<const char*>(b.data()), 4, reinterpret_cast<char*>(&c), 4);
    return c;
}

void check_bf16_rounding()
{
    const float big = 16777216.0f, infinity = std::numeric_limits<float>::infinity();
    const uint16_t one = to_bf16(1), zero = 0;
    // C comes last: 2^24 + 1 rounds to 2^24 (ties to even) before it.
    CHECK(bf16_dot(-big, {to_bf16(big), one}, {one, one}) == 0);
    CHECK(bf16_dot(-big, {to_bf16(big), zero, one, zero}, {one, one, one, one}) == 0);
    // Even and odd have sums of their own: (2^24 + 1) + (-2^24 + 1).
    CHECK(bf16_dot(0, {to_bf16(big), to_bf16(-big), one, one}, {one, one, one, one}) == 1);
    // Denormals, of bf16 and of C, count as zero; so do denormal results.
    CHECK(bf16_dot(0, {0x0040, zero}, {to_bf16(big), zero}) == 0);
    CHECK(std::bit_cast<uint32_t>(bf16_dot(std::bit_cast<float>(0x00000123u), {zero, zero}, {one, one})) == 0);
    CHECK(bf16_dot(0, {to_bf16(0x1p-100f), zero}, {to_bf16(0x1p-40f), zero}) == 0);
    CHECK(bf16_dot(0, {to_bf16(0x1p-100f), zero}, {to_bf16(0x1p-26f), zero}) == 0x1p-126f);
    CHECK(bf16_dot(0x1.8p-126f, {to_bf16(-0x1p-63f), zero}, {to_bf16(0x1p-63f), zero}) == 0);
    // Fused: a product too small for a normal number still counts in the sum,
    // 2^-126 (1 + 2^-7) - 2^-126 2^-7 here.
    CHECK(bf16_dot(0, {to_bf16(0x1.02p-63f), zero, to_bf16(-0x1p-70f), zero},
                   {to_bf16(0x1p-63f), one, to_bf16(0x1p-63f), one}) == 0x1p-126f);
    // Fused: the product 2^254 is no infinity before the addition of -inf.
    CHECK(bf16_dot(0, {to_bf16(-infinity), zero, to_bf16(0x1p127f), zero}, {one, zero, to_bf16(0x1p127f), zero}) == -infinity);
    CHECK(bf16_dot(0, {to_bf16(0x1p127f), zero}, {to_bf16(0x1p127f), zero}) == infinity);
    CHECK(std::isnan(bf16_dot(0, {to_bf16(infinity), zero}, {zero, zero})));
    // The program's own MXCSR neither matters nor changes.
    const unsigned saved = _mm_getcsr();
    _mm_setcsr(saved | _MM_ROUND_UP);
    const float up = bf16_dot(-big, {to_bf16(big), one}, {one, one});
    const unsigned after = _mm_getcsr();
    _mm_setcsr(saved);
    CHECK(up == 0 && after == (saved | _MM_ROUND_UP));
}

// ---------------------------------------------------------------- addressing

constexpr uintptr_t kLow = 0x10000000;  // Reachable by a bare disp32.
char* g_low;
Config g_config;

// Loads tile 0 (5 rows of 12 bytes) by `code`, and checks rows at
// start + row * stride. rdi = start less what `code` adds, rsi = its stride operand.
#define LOAD_CASE(code, start, stride, rdi_value, rsi_value, ...)                                  \
    do {                                                                                           \
        Config config;                                                                             \
        config.set(0, 5, 12);                                                                      \
        load_config(config);                                                                       \
        asm volatile(code ::"D"((uintptr_t)(rdi_value)), "S"((int64_t)(rsi_value))                 \
                     : "memory", "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", \
                       "r14", "r15");                                                              \
        char out[5 * 12];                                                                          \
        _tile_stored(0, out, 12);                                                                  \
        _tile_release();                                                                           \
        for (int row = 0; row < 5; ++row)                                                          \
            CHECK(memcmp(out + 12 * row, (start) + row * (int64_t)(stride), 12) == 0);             \
    } while (0)

#define BASE_CASE(reg) \
    LOAD_CASE("mov %%rdi, %%" reg "\n tileloadd (%%" reg ",%%rsi,1), %%tmm0", p, 37, p, 37); \
    LOAD_CASE("mov %%rdi, %%" reg "\n tileloadd 0x44(%%" reg ",%%rsi,1), %%tmm0", p, 37, p - 0x44, 37); \
    LOAD_CASE("mov %%rdi, %%" reg "\n tileloaddt1 -0x345(%%" reg ",%%rsi,1), %%tmm0", p, 37, p + 0x345, 37)
#define INDEX_CASE(reg) \
    LOAD_CASE("mov %%rsi, %%" reg "\n tileloadd (%%rdi,%%" reg ",1), %%tmm0", p, 37, p, 37); \
    LOAD_CASE("mov %%rsi, %%" reg "\n tileloadd (%%rdi,%%" reg ",8), %%tmm0", p, 8 * 13, p, 13)

void check_addressing()
{
    void* low = mmap(reinterpret_cast<void*>(kLow), 1 << 16, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(low == reinterpret_cast<void*>(kLow));
    g_low = static_cast<char*>(low);
    std::mt19937 random(5);
    for (int i = 0; i < 1 << 16; ++i) g_low[i] = static_cast<char>(random());
    const char* const p = g_low + 0x8001;

    BASE_CASE("rax"); BASE_CASE("rbx"); BASE_CASE("rcx"); BASE_CASE("rdx"); BASE_CASE("r8");
    BASE_CASE("r9"); BASE_CASE("r10"); BASE_CASE("r11"); BASE_CASE("r12"); BASE_CASE("r13");
    BASE_CASE("r14"); BASE_CASE("r15");
    INDEX_CASE("rax"); INDEX_CASE("rbx"); INDEX_CASE("rcx"); INDEX_CASE("rdx"); INDEX_CASE("r8");
    INDEX_CASE("r9"); INDEX_CASE("r10"); INDEX_CASE("r11"); INDEX_CASE("r12"); INDEX_CASE("r13");
    INDEX_CASE("r14"); INDEX_CASE("r15");
    // rbp and rsp as bases (rsp with room below it for the signal frame), rbp as index.
    LOAD_CASE("mov %%rbp, %%rax\n mov %%rdi, %%rbp\n tileloadd (%%rbp,%%rsi,2), %%tmm0\n mov %%rax, %%rbp", p, 74, p, 37);
    LOAD_CASE("mov %%rbp, %%rax\n mov %%rsi, %%rbp\n tileloadd (%%rdi,%%rbp,4), %%tmm0\n mov %%rax, %%rbp", p, 148, p, 37);
    LOAD_CASE("mov %%rsp, %%rax\n mov %%rdi, %%rsp\n tileloadd (%%rsp,%%rsi,1), %%tmm0\n mov %%rax, %%rsp", p, 37, p, 37);
    // No index: stride zero. No base: disp32 alone. Negative stride.
    LOAD_CASE("tileloadd (%%rdi), %%tmm0", p, 0, p, 0);
    LOAD_CASE("tileloadd 0x10008001(,%%rsi,1), %%tmm0", p, 37, 0, 37);
    LOAD_CASE("tileloadd 0x10008001(,%%rsi,4), %%tmm0", p, 4 * 37, 0, 37);
    LOAD_CASE("mov %%rsi, %%r13\n tileloadd 0x10008001(,%%r13,1), %%tmm0", p, 37, 0, 37);
    LOAD_CASE("tileloadd (%%rdi,%%rsi,1), %%tmm0", p, -37, p, -37);
    // Segment and address-size prefixes. The garbage above bit 31 must go.
    const auto fs = reinterpret_cast<uintptr_t>(__builtin_thread_pointer());
    LOAD_CASE("tileloadd %%fs:(%%rdi,%%rsi,1), %%tmm0", p, 37, (uintptr_t)p - fs, 37);
    LOAD_CASE("tileloadd %%gs:(%%rdi,%%rsi,1), %%tmm0", p, 37, p, 37);
    LOAD_CASE("tileloadd (%%edi,%%esi,1), %%tmm0", p, 37, (uintptr_t)p | 7ull << 40, 37 | 5ull << 40);
    LOAD_CASE("tileloadd (%%edi,%%esi,1), %%tmm0", p, -37, p, uint32_t(-37));

    // LDTILECFG and STTILECFG: rip-relative, plain and with a scaled index.
    g_config = Config(3, 4, 5);
    Config back;
    asm volatile("ldtilecfg %1\n sttilecfg %0\n tilerelease" : "=m"(back) : "m"(g_config));
    CHECK(memcmp(&back, &g_config, 64) == 0);
    Config configs[4];
    configs[2] = Config(7, 8, 9);
    asm volatile("ldtilecfg 128(%0,%1,8)\n sttilecfg (%2)\n tilerelease"
                 ::"r"(&configs[1]), "r"(int64_t{-8}), "r"(&back) : "memory");
    CHECK(memcmp(&back, &configs[2], 64) == 0);

    // Each of the eight tiles keeps its own contents.
    Config all;
    for (int t = 0; t < 8; ++t) all.set(t, 16, 64);
    load_config(all);
    static char in[8][1024], out[8][1024];
    for (auto& tile : in)
        for (char& byte : tile) byte = static_cast<char>(random());
    barrier();
    _tile_loadd(0, in[0], 64); _tile_loadd(1, in[1], 64); _tile_loadd(2, in[2], 64); _tile_loadd(3, in[3], 64);
    _tile_loadd(4, in[4], 64); _tile_loadd(5, in[5], 64); _tile_loadd(6, in[6], 64); _tile_loadd(7, in[7], 64);
    _tile_zero(3);
    _tile_stored(0, out[0], 64); _tile_stored(1, out[1], 64); _tile_stored(2, out[2], 64); _tile_stored(3, out[3], 64);
    _tile_stored(4, out[4], 64); _tile_stored(5, out[5], 64); _tile_stored(6, out[6], 64); _tile_stored(7, out[7], 64);
    barrier();
    memset(in[3], 0, 1024);
    CHECK(memcmp(in, out, sizeof in) == 0);
    _tile_release();
}

void check_config()
{
    Config zeros;
    zeros.palette = 0;
    Config back;
    barrier();
    _tile_storeconfig(&back);  // Unconfigured: zeros.
    barrier();
    CHECK(memcmp(&back, &zeros, 64) == 0);
    load_config(Config(2, 2, 2));
    load_config(zeros);
    _tile_storeconfig(&back);
    barrier();
    CHECK(memcmp(&back, &zeros, 64) == 0);

    // A load which resumes at row 2 keeps the rows before it, and ends at 0.
    Config resume;
    resume.start_row = 2;
    resume.set(0, 4, 4);
    load_config(resume);
    uint32_t in[4] = {1, 2, 3, 4}, out[4] = {};
    barrier();
    _tile_loadd(0, in, 4);
    _tile_storeconfig(&back);
    _tile_stored(0, out, 4);
    barrier();
    CHECK(out[0] == 0 && out[1] == 0 && out[2] == 3 && out[3] == 4);
    CHECK(back.start_row == 0 && back.rows[0] == 4);
    _tile_release();
}

// -------------------------------------------------------------------- deaths

// Runs `body` in a child; returns its wait status and what it wrote to stderr.
int in_child(const std::function<void()>& body, std::string* errors = nullptr)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    close(ends[1]);
    std::string text;
    char buffer[512];
    for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, n);
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    if (errors) *errors = text;
    return status;
}

void expect_abort(const char* reason, const std::function<void()>& body)
{
    std::string errors;
    const int status = in_child(body, &errors);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || errors.find(reason) == std::string::npos) {
        fprintf(stderr, "no abort for '%s': status %x, '%s'\n", reason, status, errors.c_str());
        _exit(1);
    }
}

void expect_signal(int signal_number, const std::function<void()>& body)
{
    const int status = in_child(body);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == signal_number);
}

void check_aborts()
{
    auto bad_config = [](const char* reason, auto change) {
        expect_abort(reason, [&] {
            Config config(16, 16, 16);
            change(config);
            load_config(config);
        });
    };
    bad_config("#GP", [](Config& c) { c.palette = 2; });
    bad_config("2..15", [](Config& c) { c.reserved_low[13] = 1; });
    bad_config("32..47", [](Config& c) { c.colsb[8] = 1; });
    bad_config("56..63", [](Config& c) { c.rows[15] = 1; });
    bad_config("colsb above 64", [](Config& c) { c.colsb[0] = 68; });
    bad_config("rows above 16", [](Config& c) { c.rows[0] = 17; });
    bad_config("only one of", [](Config& c) { c.rows[0] = 0; });
    bad_config("only one of", [](Config& c) { c.colsb[7] = 4; });

    static char memory[1024];
    expect_abort("#UD", [] { _tile_zero(0); });
    expect_abort("not configured", [] { _tile_loadd(0, memory, 64); });
    expect_abort("not configured", [] { _tile_stored(0, memory, 64); });
    expect_abort("not configured", [] { _tile_dpbssd(0, 1, 2); });
    expect_abort("not configured", [] {
        load_config(Config(1, 1, 1));
        _tile_release();
        _tile_zero(0);
    });
    auto configured = [](const char* reason, Config config, void (*body)()) {
        expect_abort(reason, [=] {
            load_config(config);
            body();
        });
    };
    const Config good(4, 5, 6);
    configured("not valid", good, [] { _tile_zero(3); });
    configured("not valid", good, [] { _tile_loadd(3, memory, 64); });
    // The assembler refuses these: tdpbf16ps 0,1,1; tdpbusd 0,0,2; tdpbuud 0,1,0.
    configured("same tile twice", good, [] { asm volatile(".byte 0xC4,0xE2,0x72,0x5C,0xC1"); });
    configured("same tile twice", good, [] { asm volatile(".byte 0xC4,0xE2,0x69,0x5E,0xC0"); });
    configured("same tile twice", good, [] { asm volatile(".byte 0xC4,0xE2,0x78,0x5E,0xC1"); });
    auto shape = [&](const char* reason, int tile, int rows, int colsb) {
        Config config(4, 5, 6);
        config.set(tile, rows, colsb);
        configured(reason, config, [] { _tile_dpbssd(0, 1, 2); });
        configured(reason, config, [] { _tile_dpbf16ps(0, 1, 2); });
    };
    shape("multiple of 4", 0, 4, 19);
    shape("dest.colsb != src2.colsb", 0, 4, 16);
    shape("dest.rows != src1.rows", 0, 3, 20);
    shape("src1.colsb / 4 != src2.rows", 2, 7, 20);
    Config odd = good;
    odd.set(0, 4, 6);
    configured("multiple of 4", odd, [] { _tile_loadd(0, memory, 64); });
    Config late = good;
    late.start_row = 4;
    configured("start_row", late, [] { _tile_stored(0, memory, 64); });
    // Encodings which the assembler refuses: tilezero with VEX.W, VEX.L, vvvv, tmm8, rm.
    configured("VEX.W", good, [] { asm volatile(".byte 0xC4,0xE2,0xFB,0x49,0xC0"); });
    configured("VEX.L", good, [] { asm volatile(".byte 0xC4,0xE2,0x7F,0x49,0xC0"); });
    configured("vvvv", good, [] { asm volatile(".byte 0xC4,0xE2,0x73,0x49,0xC0"); });
    configured("above 7", good, [] { asm volatile(".byte 0xC4,0x62,0x7B,0x49,0xC0"); });
    configured("opcode 49", good, [] { asm volatile(".byte 0xC4,0xE2,0x7B,0x49,0xC1"); });
    configured("opcode 49", good, [] { asm volatile(".byte 0xC4,0xE2,0x78,0x49,0xC8"); });
    configured("before VEX", good, [] { asm volatile(".byte 0x66,0xC4,0xE2,0x7B,0x49,0xC0"); });
    configured("above 7", good, [] { asm volatile(".byte 0xC4,0xE2,0x33,0x5E,0xC1"); });  // src2 = tmm9
    configured("without SIB", good, [] { asm volatile(".byte 0xC4,0xE2,0x7B,0x4B,0x07"); });
    configured("TDPBF16PS", good, [] { asm volatile(".byte 0xC4,0xE2,0x6B,0x5C,0xC1"); });  // tdpfp16ps
}

sigjmp_buf g_jump;
volatile sig_atomic_t g_jumps;

void check_other_signals()
{
    expect_signal(SIGILL, [] { asm volatile("ud2"); });
    expect_signal(SIGILL, [] {
        check_products(1, 1);
        asm volatile("ud2");
    });
    expect_signal(SIGILL, [] { raise(SIGILL); });
    expect_signal(SIGSEGV, [] {
        load_config(Config(1, 1, 1));
        _tile_loadd(0, nullptr, 64);
    });
    expect_signal(SIGILL, [] {
        amx_emulator_uninstall();
        _tile_release();
    });
    // An earlier handler gets ud2, and only that; leaving it by a jump is fine.
    CHECK(in_child([] {
              amx_emulator_uninstall();
              struct sigaction action = {};
              action.sa_handler = [](int) {
                  g_jumps = g_jumps + 1;
                  siglongjmp(g_jump, 1);
              };
              sigaction(SIGILL, &action, nullptr);
              CHECK(amx_emulator_install() == 0);
              for (int round = 1; round <= 2; ++round) {
                  if (sigsetjmp(g_jump, 1) == 0) asm volatile("ud2");
                  CHECK(g_jumps == round);
                  check_products(round, 1);
                  CHECK(g_jumps == round);
              }
              amx_emulator_uninstall();
              struct sigaction now;
              sigaction(SIGILL, nullptr, &now);
              CHECK(now.sa_handler == action.sa_handler);
          }) == 0);
    CHECK(in_child([] { check_products(2, 20); }) == 0);  // Fork keeps the emulator.
}

// ---------------------------------------------------------------------- time

template <class Body>
void time_it(const char* what, int instructions, Body body)
{
    constexpr int kRounds = 2000;
    double best = 1e9;
    for (int trial = 0; trial < 5; ++trial) {
        const auto start = std::chrono::steady_clock::now();
        for (int i = 0; i < kRounds; ++i) body();
        const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - start;
        best = std::min(best, taken.count() / kRounds / instructions);
    }
    printf("  %-42s %6.2f us an instruction\n", what, best);
}

#define ALONE(...) [] { __VA_ARGS__; asm volatile("nop"); }

void report_times()
{
    static char memory[4][4096];
    static const Config config(16, 16, 16);
    load_config(config);
    printf("Time, full tiles:\n");
    time_it("tilezero, alone", 1, ALONE(_tile_zero(0)));
    time_it("tileloadd, alone", 1, ALONE(_tile_loadd(0, memory[0], 64)));
    time_it("tilestored, alone", 1, ALONE(_tile_stored(0, memory[0], 64)));
    time_it("tdpbssd, alone", 1, ALONE(_tile_dpbssd(0, 1, 2)));
    time_it("tdpbf16ps, alone", 1, ALONE(_tile_dpbf16ps(0, 1, 2)));
    time_it("ldtilecfg, alone", 1, ALONE(_tile_loadconfig(&config)));
    time_it("tdpbssd, 8 in a row", 8, ALONE(
        _tile_dpbssd(0, 1, 2); _tile_dpbssd(0, 1, 2); _tile_dpbssd(0, 1, 2); _tile_dpbssd(0, 1, 2);
        _tile_dpbssd(0, 1, 2); _tile_dpbssd(0, 1, 2); _tile_dpbssd(0, 1, 2); _tile_dpbssd(0, 1, 2)));
    time_it("tdpbf16ps, 8 in a row", 8, ALONE(
        _tile_dpbf16ps(0, 1, 2); _tile_dpbf16ps(0, 1, 2); _tile_dpbf16ps(0, 1, 2); _tile_dpbf16ps(0, 1, 2);
        _tile_dpbf16ps(0, 1, 2); _tile_dpbf16ps(0, 1, 2); _tile_dpbf16ps(0, 1, 2); _tile_dpbf16ps(0, 1, 2)));
    time_it("2 loads + product, in a row", 3, ALONE(
        _tile_loadd(1, memory[1], 64); _tile_loadd(2, memory[2], 64); _tile_dpbf16ps(0, 1, 2)));
    _tile_release();
}

volatile sig_atomic_t g_ticks;

}  // namespace

int main()
{
    CHECK(amx_emulator_install() == 0);
    CHECK(amx_emulator_install() == 0);
    const unsigned long before = amx_emulator_count();
    check_products(3, 1);
    CHECK(amx_emulator_count() - before == 6 * 7);  // 7 instructions a product.

    check_products(4, 100);
    check_bf16_rounding();
    check_config();
    check_addressing();
    check_aborts();
    check_other_signals();

    // Two threads at once, each with tiles of its own, under a timer signal.
    struct sigaction tick = {};
    tick.sa_handler = [](int) { g_ticks = g_ticks + 1; };
    sigaction(SIGALRM, &tick, nullptr);
    const itimerval every_ms = {{0, 1000}, {0, 1000}}, never = {};
    setitimer(ITIMER_REAL, &every_ms, nullptr);
    {
        const unsigned long start = amx_emulator_count();
        std::thread one(check_products, 6, 300), two(check_products, 7, 300);
        one.join();
        two.join();
        CHECK(amx_emulator_count() - start == 2 * 300 * 6 * 7);
    }
    setitimer(ITIMER_REAL, &never, nullptr);
    CHECK(g_ticks > 0);
    // A thread starts unconfigured, whatever the others did; and its state goes
    // with it.
    load_config(Config(3, 3, 3));
    auto mapped_pages = [] {
        long pages = 0;
        FILE* file = fopen("/proc/self/statm", "r");
        CHECK(file && fscanf(file, "%ld", &pages) == 1);
        fclose(file);
        return pages;
    };
    long first = 0;
    for (int i = 0; i < 1000; ++i) {
        std::thread([] {
            Config config;
            barrier();
            _tile_storeconfig(&config);
            barrier();
            CHECK(config.palette == 0);
        }).join();
        if (i == 0) first = mapped_pages();
    }
    CHECK(mapped_pages() - first < 500);
    _tile_release();

    report_times();
    printf("All good: %lu instructions emulated.\n", amx_emulator_count());
}

// SPDX-License-Identifier: Apache-2.0
//
// Runs Intel AMX machine code on an x86-64 Linux CPU without AMX: the CPU
// raises SIGILL at each AMX instruction, and the handler here carries the
// instruction out in software and steps over it. A test tool: it follows the
// "Operation" sections of the Intel SDM (volume 2) and aborts, naming the
// reason, wherever the hardware would raise #UD or #GP.
//
//   g++ -O2 -std=c++20 -fPIC -shared amx_emulator.cpp -o libamx_emulator.so
//
// Everything which the handler reaches must be async-signal-safe: no malloc,
// no stdio, no locks.

#include <asm/prctl.h>
#include <immintrin.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace {

constexpr int kTiles = 8;
constexpr int kMaxRows = 16;
constexpr int kRowBytes = 64;
constexpr int kRowWords = kRowBytes / 4;

// The 64 bytes which LDTILECFG reads and STTILECFG writes.
struct TileConfig {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved_low[14];
    uint16_t colsb[kTiles];
    uint8_t reserved_columns[16];
    uint8_t rows[kTiles];
    uint8_t reserved_rows[8];
};
static_assert(sizeof(TileConfig) == 64);

struct alignas(64) Tile {
    uint32_t word[kMaxRows][kRowWords];
};

struct ThreadState {
    TileConfig config;  // All zeros, palette 0 included, while unconfigured.
    Tile tile[kTiles];
};

// Only a pointer lives in TLS, and in the static TLS block: a lazily allocated
// block would call malloc in the handler, and 8 KB would be too much static
// TLS for dlopen().
__thread ThreadState* t_state __attribute__((tls_model("initial-exec")));

std::atomic<unsigned long> g_count;
static_assert(std::atomic<unsigned long>::is_always_lock_free);

std::mutex g_install_mutex;
bool g_installed;
bool g_have_key;
pthread_key_t g_key;
struct sigaction g_previous;

[[noreturn]] void die(const char* kind, const char* reason, const void* rip)
{
    char text[256];
    size_t used = 0;
    auto append = [&](const char* part) {
        while (*part && used < sizeof text - 1) text[used++] = *part++;
    };
    append("amx_emulator: ");
    append(kind);
    append(" at rip 0x");
    char hex[17] = {};
    for (int digit = 0; digit < 16; ++digit)
        hex[digit] = "0123456789abcdef"[reinterpret_cast<uintptr_t>(rip) >> (60 - 4 * digit) & 15];
    append(hex);
    append(": ");
    append(reason);
    text[used++] = '\n';
    [[maybe_unused]] ssize_t ignored = write(STDERR_FILENO, text, used);
    abort();
}

void release_state(void* state)
{
    t_state = nullptr;
    munmap(state, sizeof(ThreadState));
}

ThreadState& thread_state(const void* rip)
{
    if (t_state == nullptr) {
        void* memory = mmap(nullptr, sizeof(ThreadState), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) die("failure", "no memory for the tiles of this thread", rip);
        t_state = static_cast<ThreadState*>(memory);
        // Frees the state at thread exit. Not async-signal-safe by POSIX, but in
        // glibc it is a plain store for the first 32 keys of a process, and the
        // signal is synchronous: at an AMX instruction, not inside libc.
        pthread_setspecific(g_key, memory);
    }
    return *t_state;
}

// ---------------------------------------------------------------- arithmetic

// With DAZ, FTZ, round to nearest even and all exceptions masked, set by the
// caller, the host's FMA is the one the SDM asks for. It must be a real FMA:
// a bf16 product may leave the range of fp32 before the addition.
__attribute__((target("avx2,fma"), noinline))
void multiply_bf16(Tile& dest, const Tile& a, const Tile& b, int rows, int depth, int columns)
{
    float b_even[kMaxRows][kRowWords];
    float b_odd[kMaxRows][kRowWords];
    for (int k = 0; k < depth; ++k)
        for (int n = 0; n < kRowWords; ++n) {
            b_even[k][n] = std::bit_cast<float>(b.word[k][n] << 16);
            b_odd[k][n] = std::bit_cast<float>(b.word[k][n] & 0xFFFF0000u);
        }
    for (int m = 0; m < rows; ++m) {
        float even[kRowWords] = {};
        float odd[kRowWords] = {};
        for (int k = 0; k < depth; ++k) {
            const float a_even = std::bit_cast<float>(a.word[m][k] << 16);
            const float a_odd = std::bit_cast<float>(a.word[m][k] & 0xFFFF0000u);
            // All columns, for a fixed trip count; those outside are dropped below.
            for (int n = 0; n < kRowWords; ++n) {
                even[n] = __builtin_fmaf(a_even, b_even[k][n], even[n]);
                odd[n] = __builtin_fmaf(a_odd, b_odd[k][n], odd[n]);
            }
        }
        for (int n = 0; n < columns; ++n) {
            const float sum = even[n] + odd[n];
            dest.word[m][n] = std::bit_cast<uint32_t>(std::bit_cast<float>(dest.word[m][n]) + sum);
        }
    }
}

template <bool is_signed>
inline int32_t byte_of(uint32_t word, int index)
{
    const auto byte = static_cast<uint8_t>(word >> (8 * index));
    return is_signed ? static_cast<int8_t>(byte) : byte;
}

template <bool a_signed, bool b_signed>
__attribute__((target("avx2,fma"), noinline))
void multiply_int8(Tile& dest, const Tile& a, const Tile& b, int rows, int depth, int columns)
{
    int32_t plane[kMaxRows][4][kRowWords];
    for (int k = 0; k < depth; ++k)
        for (int j = 0; j < 4; ++j)
            for (int n = 0; n < kRowWords; ++n) plane[k][j][n] = byte_of<b_signed>(b.word[k][n], j);
    for (int m = 0; m < rows; ++m) {
        uint32_t sum[kRowWords] = {};  // Unsigned: the accumulator wraps around.
        for (int k = 0; k < depth; ++k) {
            const uint32_t word = a.word[m][k];
            const int32_t a0 = byte_of<a_signed>(word, 0), a1 = byte_of<a_signed>(word, 1);
            const int32_t a2 = byte_of<a_signed>(word, 2), a3 = byte_of<a_signed>(word, 3);
            const auto& p = plane[k];
#pragma GCC unroll 1  // Unrolled whole, at -O3, the loop vectorises badly.
            for (int n = 0; n < kRowWords; ++n)
                sum[n] += static_cast<uint32_t>(a0 * p[0][n] + a1 * p[1][n] + a2 * p[2][n] + a3 * p[3][n]);
        }
        for (int n = 0; n < columns; ++n) dest.word[m][n] += sum[n];
    }
}

// What write_row_and_zero() and zero_upper_rows() of the SDM leave outside.
void zero_outside(Tile& tile, int rows, int colsb)
{
    for (int m = 0; m < kMaxRows; ++m) {
        const int kept = m < rows ? colsb : 0;
        memset(reinterpret_cast<char*>(tile.word[m]) + kept, 0, kRowBytes - kept);
    }
}

// ------------------------------------------------------------------ decoding

enum Prefix { kNone = 0, k66 = 1, kF3 = 2, kF2 = 3 };  // VEX.pp

struct Instruction {
    const uint8_t* start;
    const uint8_t* end;
    uint8_t opcode;
    int prefix;
    int mod;
    int reg;   // With VEX.R: 8..15 name no tile.
    int rm;    // With VEX.B.
    int vvvv;  // Un-inverted; 0 where the field is unused (1111b).
    bool has_sib;
    // Of a memory operand; `index` is the scaled index register, which a tile
    // load or store takes as its stride.
    uint64_t segment_base;
    uint64_t base;
    uint64_t index;
    uint64_t address_mask;

    void* address(uint64_t offset) const
    {
        return reinterpret_cast<void*>(segment_base + ((base + offset) & address_mask));
    }
    [[noreturn]] void undefined(const char* reason) const { die("#UD", reason, start); }
    [[noreturn]] void protection(const char* reason) const { die("#GP", reason, start); }
};

uint64_t read_register(const greg_t* regs, int number)
{
    static constexpr int kGreg[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                      REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                      REG_R12, REG_R13, REG_R14, REG_R15};
    return static_cast<uint64_t>(regs[kGreg[number]]);
}

// Decodes ModRM's memory form; `p` is the byte after ModRM. Returns the byte
// after the operand, which ends the instruction.
const uint8_t* decode_memory(Instruction& in, const uint8_t* p, bool vex_x, bool vex_b, bool address32,
                             const greg_t* regs)
{
    in.address_mask = address32 ? 0xFFFFFFFFu : ~uint64_t{0};
    const int extend_base = vex_b ? 8 : 0;
    bool rip_relative = false;
    bool no_base = false;
    int base = in.rm;
    if ((in.rm & 7) == 4) {
        const uint8_t sib = *p++;
        in.has_sib = true;
        const int index = (sib >> 3 & 7) | (vex_x ? 8 : 0);
        if (index != 4) in.index = (read_register(regs, index) & in.address_mask) << (sib >> 6);
        base = (sib & 7) | extend_base;
        no_base = in.mod == 0 && (sib & 7) == 5;
    } else {
        rip_relative = in.mod == 0 && (in.rm & 7) == 5;
    }
    int64_t displacement = 0;
    if (in.mod == 1) {
        displacement = static_cast<int8_t>(*p++);
    } else if (in.mod == 2 || rip_relative || no_base) {
        int32_t value;
        memcpy(&value, p, sizeof value);
        displacement = value;
        p += sizeof value;
    }
    if (rip_relative)
        in.base = reinterpret_cast<uint64_t>(p);
    else if (!no_base)
        in.base = read_register(regs, base);
    in.base += static_cast<uint64_t>(displacement);
    return p;
}

// False where the bytes are no AMX instruction. Reads no byte beyond what it
// needs: the next page may be absent.
bool decode(Instruction& in, const greg_t* regs)
{
    in = {};
    in.start = reinterpret_cast<const uint8_t*>(regs[REG_RIP]);
    const uint8_t* p = in.start;
    bool address32 = false, forbidden_prefix = false;
    uint8_t segment = 0;
    for (;; ++p) {
        if (p - in.start >= 10) return false;
        if (*p == 0x64 || *p == 0x65)
            segment = *p;
        else if (*p == 0x67)
            address32 = true;
        else if (*p == 0xF0 || *p == 0x66 || *p == 0xF2 || *p == 0xF3 || (*p & 0xF0) == 0x40)
            forbidden_prefix = true;
        else if (*p != 0x26 && *p != 0x2E && *p != 0x36 && *p != 0x3E)
            break;  // Those four segment overrides are ignored in 64-bit mode.
    }
    // Three-byte VEX, opcode map 0F38. R, X, B and vvvv are stored inverted.
    if (p[0] != 0xC4 || (p[1] & 0x1F) != 2) return false;
    in.opcode = p[3];
    if (in.opcode != 0x49 && in.opcode != 0x4B && in.opcode != 0x5C && in.opcode != 0x5E) return false;
    if (forbidden_prefix) in.undefined("LOCK, 66, F2, F3 or REX before VEX");
    if (p[2] & 0x80) in.undefined("VEX.W is 1");
    if (p[2] & 0x04) in.undefined("VEX.L is 1");
    const bool vex_r = !(p[1] & 0x80), vex_x = !(p[1] & 0x40), vex_b = !(p[1] & 0x20);
    in.prefix = p[2] & 3;
    in.vvvv = ~(p[2] >> 3) & 15;
    const uint8_t modrm = p[4];
    in.mod = modrm >> 6;
    in.reg = (modrm >> 3 & 7) | (vex_r ? 8 : 0);
    in.rm = (modrm & 7) | (vex_b ? 8 : 0);
    in.end = p + 5;
    if (in.mod != 3) {
        in.end = decode_memory(in, in.end, vex_x, vex_b, address32, regs);
        if (segment == 0x64)
            in.segment_base = reinterpret_cast<uint64_t>(__builtin_thread_pointer());
        else if (segment == 0x65)
            syscall(SYS_arch_prctl, ARCH_GET_GS, &in.segment_base);
    }
    return true;
}

// ----------------------------------------------------------------- execution

template <size_t size>
bool all_zero(const uint8_t (&bytes)[size])
{
    for (uint8_t byte : bytes)
        if (byte) return false;
    return true;
}

void load_config(const Instruction& in, ThreadState& state)
{
    TileConfig config;
    memcpy(&config, in.address(in.index), sizeof config);
    if (config.palette > 1) in.protection("LDTILECFG: palette is neither 0 nor 1");
    if (config.palette == 0) {  // The rest of the 64 bytes is not looked at.
        memset(&state, 0, sizeof state);
        return;
    }
    if (!all_zero(config.reserved_low)) in.protection("LDTILECFG: a reserved byte of 2..15 is not zero");
    if (!all_zero(config.reserved_columns)) in.protection("LDTILECFG: a reserved byte of 32..47 is not zero");
    if (!all_zero(config.reserved_rows)) in.protection("LDTILECFG: a reserved byte of 56..63 is not zero");
    for (int t = 0; t < kTiles; ++t) {
        if (config.colsb[t] > kRowBytes) in.protection("LDTILECFG: colsb above 64");
        if (config.rows[t] > kMaxRows) in.protection("LDTILECFG: rows above 16");
        if ((config.colsb[t] == 0) != (config.rows[t] == 0))
            in.protection("LDTILECFG: only one of colsb and rows is zero");
    }
    memset(&state, 0, sizeof state);
    state.config = config;
}

// The checks which every tile operand of exception classes AMX-E3..E5 gets.
void check_tile(const Instruction& in, const ThreadState& state, int tile)
{
    if (state.config.palette == 0) in.undefined("tiles are not configured");
    if (tile >= kTiles) in.undefined("tile number above 7");
    if (state.config.rows[tile] == 0) in.undefined("tile is not valid (no rows and columns configured)");
}

void move_tile(const Instruction& in, ThreadState& state)
{
    if (in.prefix == kNone) in.undefined("opcode 4B without a prefix");
    if (in.mod == 3) in.undefined("tile load or store with a register operand");
    if (!in.has_sib) in.undefined("tile load or store without SIB addressing");
    if (in.vvvv != 0) in.undefined("VEX.vvvv is not 1111b");
    check_tile(in, state, in.reg);
    TileConfig& config = state.config;
    const int rows = config.rows[in.reg], colsb = config.colsb[in.reg];
    if (colsb % 4 != 0) in.undefined("tile load or store: colsb is not a multiple of 4");
    if (config.start_row >= rows) in.undefined("tile load or store: start_row is not below rows");

    // A page fault on the way hits the memcpy, and goes to the program's
    // SIGSEGV handler; if that repairs the page, the copy just goes on.
    Tile& tile = state.tile[in.reg];
    const bool is_store = in.prefix == kF3;
    if (!is_store && config.start_row == 0) memset(&tile, 0, sizeof tile);
    for (int m = config.start_row; m < rows; ++m) {
        void* const memory = in.address(static_cast<uint64_t>(m) * in.index);
        if (is_store)
            memcpy(memory, tile.word[m], colsb);
        else
            memcpy(tile.word[m], memory, colsb);
    }
    if (!is_store) zero_outside(tile, rows, colsb);
    config.start_row = 0;
}

void multiply(const Instruction& in, ThreadState& state)
{
    if (in.opcode == 0x5C && in.prefix != kF3) in.undefined("opcode 5C: only TDPBF16PS is emulated");
    if (in.mod != 3) in.undefined("tile product with a memory operand");
    const int dest = in.reg, a = in.rm, b = in.vvvv;
    check_tile(in, state, dest);
    check_tile(in, state, a);
    check_tile(in, state, b);
    if (dest == a || dest == b || a == b) in.undefined("tile product: the same tile twice");
    TileConfig& config = state.config;
    const int colsb = config.colsb[dest], rows = config.rows[dest];
    if (colsb % 4 || config.colsb[a] % 4 || config.colsb[b] % 4)
        in.undefined("tile product: colsb is not a multiple of 4");
    if (config.colsb[b] != colsb) in.undefined("tile product: dest.colsb != src2.colsb");
    if (config.rows[a] != rows) in.undefined("tile product: dest.rows != src1.rows");
    if (config.colsb[a] / 4 != config.rows[b]) in.undefined("tile product: src1.colsb / 4 != src2.rows");

    const int depth = config.colsb[a] / 4;
    Tile& c = state.tile[dest];
    const Tile& left = state.tile[a];
    const Tile& right = state.tile[b];
    if (in.opcode == 0x5C) {
        const unsigned saved = _mm_getcsr();
        _mm_setcsr(_MM_MASK_MASK | _MM_FLUSH_ZERO_ON | _MM_DENORMALS_ZERO_ON | _MM_ROUND_NEAREST);
        multiply_bf16(c, left, right, rows, depth, colsb / 4);
        _mm_setcsr(saved);
    } else {
        switch (in.prefix) {
        case kF2: multiply_int8<true, true>(c, left, right, rows, depth, colsb / 4); break;
        case kF3: multiply_int8<true, false>(c, left, right, rows, depth, colsb / 4); break;
        case k66: multiply_int8<false, true>(c, left, right, rows, depth, colsb / 4); break;
        default: multiply_int8<false, false>(c, left, right, rows, depth, colsb / 4); break;
        }
    }
    zero_outside(c, rows, colsb);
    config.start_row = 0;
}

// Opcode 49: LDTILECFG, STTILECFG, TILERELEASE and TILEZERO.
void configure(const Instruction& in, ThreadState& state)
{
    if (in.vvvv != 0) in.undefined("VEX.vvvv is not 1111b");
    const int reg_field = in.reg & 7, rm_field = in.rm & 7;
    if (in.mod != 3 && reg_field == 0 && in.prefix == kNone) {
        load_config(in, state);
    } else if (in.mod != 3 && reg_field == 0 && in.prefix == k66) {
        memcpy(in.address(in.index), &state.config, sizeof state.config);
    } else if (in.mod == 3 && reg_field == 0 && rm_field == 0 && in.prefix == kNone) {
        memset(&state, 0, sizeof state);
    } else if (in.mod == 3 && rm_field == 0 && in.prefix == kF2) {
        check_tile(in, state, in.reg);
        memset(&state.tile[in.reg], 0, sizeof(Tile));
        state.config.start_row = 0;
    } else {
        in.undefined("opcode 49 with operands of no AMX instruction");
    }
}

bool emulate_one(greg_t* regs)
{
    Instruction in;
    if (!decode(in, regs)) return false;
    ThreadState& state = thread_state(in.start);
    if (in.opcode == 0x49)
        configure(in, state);
    else if (in.opcode == 0x4B)
        move_tile(in, state);
    else
        multiply(in, state);
    regs[REG_RIP] = reinterpret_cast<greg_t>(in.end);
    return true;
}

// -------------------------------------------------------------------- signal

// Gives a SIGILL which is not ours to whoever had the signal before.
void chain(int signal_number, siginfo_t* info, void* context)
{
    const bool sent_by_a_process = info->si_code <= 0;
    if (g_previous.sa_handler != SIG_DFL && g_previous.sa_handler != SIG_IGN) {
        // The mask it asked for; ours would stay if it left by longjmp().
        sigset_t mask = static_cast<ucontext_t*>(context)->uc_sigmask;
        sigorset(&mask, &mask, &g_previous.sa_mask);
        if (!(g_previous.sa_flags & SA_NODEFER)) sigaddset(&mask, SIGILL);
        pthread_sigmask(SIG_SETMASK, &mask, nullptr);
        if (g_previous.sa_flags & SA_SIGINFO)
            g_previous.sa_sigaction(signal_number, info, context);
        else
            g_previous.sa_handler(signal_number);
        return;
    }
    if (sent_by_a_process && g_previous.sa_handler == SIG_IGN) return;
    // Returning repeats the illegal instruction, which now kills the process
    // with the true address in its core file.
    struct sigaction fallback = {};
    fallback.sa_handler = SIG_DFL;
    sigaction(SIGILL, &fallback, nullptr);
    if (sent_by_a_process) raise(SIGILL);
}

void handle_sigill(int signal_number, siginfo_t* info, void* context)
{
    const int saved_errno = errno;
    unsigned long emulated = 0;
    if (info->si_code > 0) {
        greg_t* const regs = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
        // AMX instructions come in runs: going on saves a signal for each.
        while (emulate_one(regs)) ++emulated;
    }
    if (emulated)
        g_count.fetch_add(emulated, std::memory_order_relaxed);
    else
        chain(signal_number, info, context);
    errno = saved_errno;
}

}  // namespace

// Returns 0, or -1 with errno set. Installing twice does no harm.
extern "C" int amx_emulator_install()
{
    const std::lock_guard lock(g_install_mutex);
    if (g_installed) return 0;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        errno = ENOTSUP;
        return -1;
    }
    if (!g_have_key) {
        if (const int error = pthread_key_create(&g_key, release_state)) {
            errno = error;
            return -1;
        }
        g_have_key = true;
    }
    struct sigaction action = {};
    action.sa_sigaction = handle_sigill;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    // An instruction is atomic to asynchronous signals. Synchronous ones stay
    // open: a page fault in the handler belongs to the emulated instruction.
    sigfillset(&action.sa_mask);
    for (int open : {SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGTRAP, SIGSYS, SIGABRT}) sigdelset(&action.sa_mask, open);
    // The earlier action must be known before the first signal can arrive.
    if (sigaction(SIGILL, nullptr, &g_previous) != 0) return -1;
    if (sigaction(SIGILL, &action, nullptr) != 0) return -1;
    g_installed = true;
    return 0;
}

extern "C" unsigned long amx_emulator_count()
{
    return g_count.load(std::memory_order_relaxed);
}

// Where a later handler has been put over this one, this one stays beneath it.
extern "C" void amx_emulator_uninstall()
{
    const std::lock_guard lock(g_install_mutex);
    if (!g_installed) return;
    struct sigaction current;
    if (sigaction(SIGILL, nullptr, &current) != 0) return;
    if (!(current.sa_flags & SA_SIGINFO) || current.sa_sigaction != handle_sigill) return;
    sigaction(SIGILL, &g_previous, nullptr);
    g_installed = false;
}

// What this CPU, and the system for this process, can run.
#pragma once

namespace embedrouter {

struct Cpu {
    bool avx512 = false;       // F, DQ, BW and VL, with FMA
    bool avx512_bf16 = false;  // each of these with the former
    bool avx512_vnni = false;
    bool amx_bf16 = false;  // with the system's leave to use tiles
    bool amx_int8 = false;
};

Cpu find_cpu();

}  // namespace embedrouter

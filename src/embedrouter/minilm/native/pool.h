// The threads that compute blocks.
//
// Calls put their blocks into one queue. A call's own thread takes blocks from it, anybody's, until its own are done;
// up to `threads` threads compute at any time, helpers of the pool filling up. Who finds the queue empty assists with a
// block under way, unit by unit, so that the last block of a call, or the only one, does not leave a core idle.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "block.h"

namespace embedrouter {

class Pool {
public:
    Pool(const Model& model, const Path& path, int threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    // Ticks of the time stamp counter that all threads have spent in each phase.
    std::vector<std::uint64_t> ticks();

    // Computes blocks and returns when all are done.
    void compute(Block* blocks, int count);

private:
    // What a thread has that computes.
    struct Slot {
        explicit Slot(const Path& path) : space(path.rows + kMaxLength, path.format), ticks(path.phases) {}

        Workspace space;
        Scratch scratch;
        std::vector<std::atomic<std::uint64_t>> ticks;  // of the time stamp counter, by phase
    };

    bool work(std::unique_lock<std::mutex>& lock, const std::atomic<int>* mine);
    void help();
    void stop();
    void lead(Block& block, Slot& slot);
    void assist(Block& block, Slot& slot, const std::atomic<int>* mine);
    bool claim(Block& block, Slot& slot);
    bool is_unit(const Block& block, std::uint64_t ticket) const;
    bool ended(const Block& block) const;

    const Model& model_;
    const Path& path_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Block*> queue_;
    std::atomic<int> queued_{0};
    std::vector<Block*> under_way_;
    std::vector<std::unique_ptr<Slot>> slots_;
    std::vector<Slot*> free_;  // one for each thread that may compute
    bool closing_ = false;
    std::vector<std::thread> helpers_;
};

}  // namespace embedrouter

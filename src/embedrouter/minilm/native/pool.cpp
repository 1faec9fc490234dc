#include "pool.h"

#include <immintrin.h>
#include <sched.h>

#include <algorithm>

namespace embedrouter {
namespace {

constexpr int kSpins = 4000;  // pauses before a waiting thread gives its core away

constexpr std::uint64_t ticket(int phase, int unit) {
    return static_cast<std::uint64_t>(phase) << 32 | static_cast<std::uint32_t>(unit);
}
constexpr int phase_of(std::uint64_t ticket) { return static_cast<int>(ticket >> 32); }
constexpr int unit_of(std::uint64_t ticket) { return static_cast<int>(ticket & 0x7fffffff); }

// Waits briefly, again and again.
class Patience {
public:
    void wait() {
        if (++spins_ < kSpins) {
            _mm_pause();
        } else {
            sched_yield();
        }
    }

private:
    int spins_ = 0;
};

}  // namespace

Pool::Pool(const Model& model, const Path& path, int threads) : model_(model), path_(path) {
    for (int i = 0; i < threads; ++i) {
        slots_.push_back(std::make_unique<Slot>(path));
        free_.push_back(slots_.back().get());
    }
    under_way_.reserve(threads);
    try {
        for (int i = 1; i < threads; ++i) helpers_.emplace_back([this] { help(); });
    } catch (...) {
        stop();
        throw;
    }
}

Pool::~Pool() {
    stop();
}

void Pool::stop() {
    {
        const std::lock_guard lock(mutex_);
        closing_ = true;
    }
    changed_.notify_all();
    for (std::thread& helper : helpers_) helper.join();
}

std::vector<std::uint64_t> Pool::ticks() {
    std::vector<std::uint64_t> sums(path_.phases);
    for (const auto& slot : slots_) {
        for (int phase = 0; phase < path_.phases; ++phase) sums[phase] += slot->ticks[phase];
    }
    return sums;
}

void Pool::compute(Block* blocks, int count) {
    std::atomic<int> remaining(count);
    std::unique_lock lock(mutex_);
    for (int i = 0; i < count; ++i) {
        blocks[i].remaining = &remaining;
        queue_.push_back(&blocks[i]);
    }
    queued_ += count;
    changed_.notify_all();
    while (remaining > 0) {
        if (!work(lock, &remaining)) changed_.wait(lock);
    }
}

void Pool::help() {
    std::unique_lock lock(mutex_);
    while (!closing_) {
        if (!work(lock, nullptr)) changed_.wait(lock);
    }
}

// Takes part in one block, if there is any and this thread may. mine: the blocks left of this thread's own call, if it
// has one. The lock is held on entry and on return.
bool Pool::work(std::unique_lock<std::mutex>& lock, const std::atomic<int>* mine) {
    if (free_.empty()) return false;
    const auto runs = [this](const Block* block) { return !ended(*block); };
    const auto open = std::find_if(under_way_.begin(), under_way_.end(), runs);
    if (queue_.empty() && open == under_way_.end()) return false;
    Slot& slot = *free_.back();
    free_.pop_back();
    if (!queue_.empty()) {
        Block& block = *queue_.front();
        queue_.pop_front();
        --queued_;
        under_way_.push_back(&block);
        lock.unlock();
        lead(block, slot);
        lock.lock();
        std::erase(under_way_, &block);  // nobody joins any more
        lock.unlock();
        Patience patience;
        while (block.assistants > 0) patience.wait();
        lock.lock();
        --*block.remaining;
        free_.push_back(&slot);
        changed_.notify_all();
    } else {
        Block& block = **open;
        ++block.assistants;
        lock.unlock();
        assist(block, slot, mine);
        --block.assistants;
        lock.lock();
        free_.push_back(&slot);
        if (!queue_.empty()) changed_.notify_one();
    }
    return true;
}

void Pool::lead(Block& block, Slot& slot) {
    block.space = &slot.space;
    slot.space.shape(block.rows);
    for (int s = 0; s < block.sequences; ++s) {
        const Span& span = block.spans[s];
        for (int i = 0; i < span.length; ++i) slot.space.position[span.start + i] = i;
    }
    path_.enter();
    for (int phase = 0; phase < path_.phases; ++phase) {
        block.done.store(0, std::memory_order_relaxed);
        block.ticket.store(ticket(phase, 0), std::memory_order_release);
        const int units = path_.units(block, phase);
        while (claim(block, slot)) {
        }
        Patience patience;
        while (block.done.load(std::memory_order_acquire) < units) patience.wait();
    }
    block.ticket.store(ticket(path_.phases, 0), std::memory_order_release);
    path_.leave();
}

void Pool::assist(Block& block, Slot& slot, const std::atomic<int>* mine) {
    path_.enter();
    Patience patience;
    // A block that waits for a leader is worth more than an assistant, and so is a caller whose call is done.
    const auto wanted = [&] {
        return queued_.load(std::memory_order_relaxed) > 0 ||
               (mine != nullptr && mine->load(std::memory_order_relaxed) == 0);
    };
    while (!wanted() && !ended(block)) {
        if (claim(block, slot)) {
            patience = Patience();
        } else {
            patience.wait();
        }
    }
    path_.leave();
}

// Computes one unit of the phase the block is in, if one is left.
bool Pool::claim(Block& block, Slot& slot) {
    std::uint64_t next = block.ticket.load(std::memory_order_acquire);
    if (!is_unit(block, next)) return false;  // looks first, so that waiting does not count the ticket up
    next = block.ticket.fetch_add(1, std::memory_order_acq_rel);
    if (!is_unit(block, next)) return false;
    const std::uint64_t started = __rdtsc();
    path_.run(model_, block, slot.scratch, phase_of(next), unit_of(next));
    slot.ticks[phase_of(next)].fetch_add(__rdtsc() - started, std::memory_order_relaxed);
    block.done.fetch_add(1, std::memory_order_release);
    return true;
}

bool Pool::is_unit(const Block& block, std::uint64_t ticket) const {
    return phase_of(ticket) < path_.phases && unit_of(ticket) < path_.units(block, phase_of(ticket));
}

bool Pool::ended(const Block& block) const {
    return phase_of(block.ticket.load(std::memory_order_acquire)) >= path_.phases;
}

}  // namespace embedrouter

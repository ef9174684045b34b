// SPDX-License-Identifier: MIT
#pragma once

#include <plait/multiprocessing/array.hpp>
#include <plait/multiprocessing/pool.hpp>

#include "support/process_state.hpp"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// A pool under load, and somebody who kills its workers meanwhile: what each task came to is counted, and how often it
// began.

namespace support::pool_load {

namespace mp = plait::multiprocessing;
using Clock = std::chrono::steady_clock;

/// What came of the tasks. May lie in memory that a judge shares, who reads it when the program is over.
struct Tally {
    std::atomic<std::uint64_t> submitted{0};
    std::atomic<std::uint64_t> completed{0};
    std::atomic<std::uint64_t> threw{0};
    std::atomic<std::uint64_t> died{0};
    std::atomic<std::uint64_t> timed_out{0};
    std::atomic<std::uint64_t> cancelled{0};
    std::atomic<std::uint64_t> dropped{0};  // by the end of their pool
    std::atomic<std::uint64_t> unbegun{
        0};  // of those that failed, between their begin mark and their first instruction
    std::atomic<std::uint64_t> kills{0};
    std::atomic<std::uint64_t> kills_of_makers{0};
    std::atomic<std::int64_t> longest_stall{0};  // in nanoseconds, from a kill to the news of it
    std::atomic<bool> is_wrong{false};
    char problem[400] = {};  // the first, written by whoever set `is_wrong`

    [[nodiscard]] std::uint64_t ended() const noexcept {
        return completed + threw + died + timed_out + cancelled + dropped;
    }
    void complain(const std::string& what) noexcept {
        if (!is_wrong.exchange(true)) std::snprintf(problem, sizeof problem, "%s", what.c_str());
    }
    void note_stall(std::chrono::nanoseconds time) noexcept {
        std::int64_t longest = longest_stall.load();
        while (time.count() > longest && !longest_stall.compare_exchange_weak(longest, time.count())) {
        }
    }
};

/// How often each task began: workers count, whoever submitted looks. The initializer brings it to them.
using Ledger = mp::Array<std::uint32_t>;

inline std::optional<Ledger>& ledger_of_this_process() {
    static std::optional<Ledger> ledger;
    return ledger;
}
inline void open_ledger(const Ledger& ledger) { ledger_of_this_process() = ledger; }
inline void note_begin(std::uint32_t slot) { ++std::atomic_ref<std::uint32_t>{(*ledger_of_this_process())[slot]}; }

// --- The tasks --------------------------------------------------------------------------------------------------------

inline std::uint32_t answer_to(std::uint32_t slot) noexcept { return slot * 2'654'435'761U + 1; }

inline std::uint32_t be_quick(std::uint32_t slot) {
    note_begin(slot);
    return answer_to(slot);
}
inline std::string carry(std::uint32_t slot, std::string text) {
    note_begin(slot);
    text.front() = static_cast<char>('a' + slot % 26);
    return text;
}
/// One child ends as the task does, in the midst of the pool's code; another stays, and goes with the worker.
inline std::uint32_t fork_some(std::uint32_t slot) {
    note_begin(slot);
    const pid_t copy = ::fork();
    if (copy == 0) return 0;
    const pid_t lasting = ::fork();
    if (lasting == 0)
        for (;;) ::pause();
    if (copy > 0) ::waitpid(copy, nullptr, 0);
    return answer_to(slot);
}
inline std::uint32_t throw_something(std::uint32_t slot) {
    note_begin(slot);
    throw std::out_of_range("slot " + std::to_string(slot));
}
inline std::uint32_t hang(std::uint32_t slot) {
    note_begin(slot);
    for (;;) ::pause();
}

// --- The killer -------------------------------------------------------------------------------------------------------

/// Sends a signal to `pid` if that is a child's child of this process, and to nobody else: numbers are used again.
inline bool signal_grandchild(int pid, int number) {
    const int handle = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    if (handle < 0) return false;
    const auto process = process_state(pid);
    const auto parent = process ? process_state(process->parent) : std::nullopt;
    const bool sent =
        parent && parent->parent == ::getpid() && ::syscall(SYS_pidfd_send_signal, handle, number, nullptr, 0) == 0;
    ::close(handle);
    return sent;
}

/// Kills workers of one pool, at random.
///
/// Workers that die again and again before they can work break the pool, as they should. So of those that are just
/// starting, and of makers, one more is killed only when a worker that was not there before has come up.
class Killer {
public:
    Killer(const mp::Pool& pool, Tally& tally, std::uint64_t seed, bool kills_makers)
        : pool_{pool}, tally_{tally}, random_{seed}, kills_makers_{kills_makers} {}

    void strike() {
        finish_stopped(false);
        const auto workers = pool_.workers();
        for (const mp::WorkerInfo& worker : workers)
            if (is_up(worker) && known_.insert(worker.pid).second) spared_ = true;
        if (known_.size() > 1000) std::erase_if(known_, [&](std::int64_t pid) { return !is_among(workers, pid); });
        if (workers.empty()) return;
        const mp::WorkerInfo& worker = workers[below(workers.size())];
        if (!is_up(worker) && !std::exchange(spared_, false)) return;
        const int pid = static_cast<int>(worker.pid);
        if (kills_makers_ && below(50) == 0 && std::exchange(spared_, false)) return kill_maker_of(pid);
        kill(pid, plait::detail::address_sanitizer ? SIGKILL : signals[below(std::size(signals))]);
    }
    /// Those that were stopped are killed, at the latest now.
    void finish() { finish_stopped(true); }

    /// The pool is about to be terminated: its workers die from here on without being killed here.
    void note_end() noexcept { is_over_ = true; }

    /// For who hears of a worker's death.
    void note_news(const plait::ProcessDied& death) {
        if (is_over_) return;
        const std::scoped_lock lock{mutex_};
        if (const auto kill = times_.find(death.pid()); kill != times_.end())
            tally_.note_stall(Clock::now() - kill->second);
        else if (tally_.kills_of_makers == 0)
            tally_.complain(std::string("a worker died that nobody killed: ") + death.what());
        if (death.exitcode() >= 0) tally_.complain(std::string("a killed worker has an exit code: ") + death.what());
    }

private:
    static constexpr int signals[] = {SIGKILL, SIGKILL, SIGKILL, SIGKILL, SIGKILL,
                                      SIGKILL, SIGSEGV, SIGTERM, SIGTERM, SIGSTOP};

    static bool is_up(const mp::WorkerInfo& worker) noexcept {
        return worker.state == mp::WorkerInfo::State::idle || worker.state == mp::WorkerInfo::State::busy;
    }
    static bool is_among(const std::vector<mp::WorkerInfo>& workers, std::int64_t pid) noexcept {
        return std::any_of(workers.begin(), workers.end(), [&](const auto& worker) { return worker.pid == pid; });
    }
    std::size_t below(std::size_t limit) { return random_() % limit; }

    void kill(int pid, int number) {
        if (number == SIGSTOP) {
            if (signal_grandchild(pid, SIGSTOP))
                stopped_.emplace_back(pid, Clock::now() + std::chrono::milliseconds{below(50)});
            return;
        }
        {
            // Before it: the news may be there at once.
            const std::scoped_lock lock{mutex_};
            times_[pid] = Clock::now();
        }
        if (signal_grandchild(pid, number)) ++tally_.kills;
    }
    void kill_maker_of(int pid) {
        const auto worker = process_state(pid);
        const auto maker = worker ? process_state(worker->parent) : std::nullopt;
        if (!maker || maker->parent != ::getpid()) return;
        ++tally_.kills_of_makers;
        ::kill(maker->pid, SIGKILL);  // a child of ours that only the pool reaps, when it is gone
    }
    void finish_stopped(bool all) {
        std::erase_if(stopped_, [&](const auto& stopped) {
            if (!all && Clock::now() < stopped.second) return false;
            kill(stopped.first, SIGKILL);
            return true;
        });
    }

    const mp::Pool& pool_;
    Tally& tally_;
    std::mt19937_64 random_;
    const bool kills_makers_;
    std::set<std::int64_t> known_;  // pids that have been seen at work
    bool spared_ = false;           // whether one has come up since the last of the kills that may break the pool
    std::vector<std::pair<int, Clock::time_point>> stopped_;
    std::atomic<bool> is_over_{false};
    std::mutex mutex_;
    std::map<std::int64_t, Clock::time_point> times_;  // of the last kill of each number
};

// --- The load ---------------------------------------------------------------------------------------------------------

/// What a submitter does beside quick tasks, maps and imaps.
struct Mix {
    bool large = true;
    bool forked = true;
    bool throwing = false;
    bool hanging = false;  // for pools with a time limit
    bool cancelled = false;
};

/// Submits tasks to a pool, a burst at a time, and sees what comes of them. One a thread.
class Submitter {
public:
    /// How many slots of the ledger it uses, from `first` on; slot 0 is for tasks that nobody counts.
    static constexpr std::uint32_t slots = 160;

    Submitter(mp::Pool& pool, Killer& killer, Tally& tally, const Ledger& ledger, std::uint32_t first, Mix mix,
              std::uint64_t seed)
        : pool_{pool}, killer_{killer}, tally_{tally}, ledger_{ledger}, first_{first}, mix_{mix}, random_{seed} {}

    /// False where something is wrong, or the pool is over.
    bool burst() {
        next_ = first_;
        try {
            submit();
        } catch (const plait::UsageError&) {
            is_over_ = true;  // somebody ended the pool
        }
        for (auto& one : ones_)
            settle(one.future, one.slot, 1, [&](std::uint32_t is) { return is == answer_to(one.slot); });
        for (auto& one : texts_)
            settle(one.future, one.slot, 1, [&](const std::string& is) {
                return is.size() == text_size && is.front() == static_cast<char>('a' + one.slot % 26) &&
                       is.back() == 'z';
            });
        for (auto& one : maps_)
            settle(one.future, one.slot, map_size, [&](const std::vector<std::uint32_t>& are) {
                for (std::uint32_t i = 0; i < map_size; ++i)
                    if (are.size() != map_size || are[i] != answer_to(one.slot + i)) return false;
                return true;
            });
        ones_.clear();
        texts_.clear();
        maps_.clear();
        return !is_over_ && !tally_.is_wrong;
    }

private:
    static constexpr std::uint32_t map_size = 64;
    static constexpr std::uint32_t stream_size = 20;
    static constexpr std::size_t text_size = 1 << 20;
    static constexpr auto patience = std::chrono::seconds{20};  // until a task is said to hang

    template <class T>
    struct Submitted {
        plait::Future<T> future;
        std::uint32_t slot;
    };

    bool chance(std::uint64_t of) { return random_() % of == 0; }
    std::uint32_t take_slots(std::uint32_t count) { return std::exchange(next_, next_ + count); }

    void submit() {
        for (int i = 0; i < 24; ++i) add(be_quick);
        if (mix_.large && chance(2)) {
            const std::uint32_t slot = take_slots(1);
            texts_.push_back({counted(pool_.apply_async(carry, slot, std::string(text_size, 'z')), 1), slot});
        }
        if (mix_.forked && chance(8)) add(fork_some);
        if (mix_.throwing) add(throw_something);
        if (mix_.hanging && chance(4)) add(hang);
        std::vector<std::uint32_t> items;
        const std::uint32_t first = take_slots(map_size);
        for (std::uint32_t i = 0; i < map_size; ++i) items.push_back(first + i);
        maps_.push_back({counted(pool_.map_async(be_quick, items, 1 + random_() % 16), map_size), first});
        if (chance(4)) read_as_they_come();
        if (mix_.cancelled)
            for (int i = 0; i < 2; ++i) cancel_one();
    }
    void add(std::uint32_t (*task)(std::uint32_t)) {
        const std::uint32_t slot = take_slots(1);
        ones_.push_back({counted(pool_.apply_async(task, slot), 1), slot});
    }
    void cancel_one() {
        // It may begin after the cancellation is told, and be ended then: its beginnings say nothing.
        auto future = counted(pool_.apply_async(chance(2) && mix_.hanging ? hang : be_quick, 0U), 1);
        if (chance(2)) static_cast<void>(future.wait(std::chrono::microseconds{random_() % 2000}));
        future.cancel();
        settle(future, 0, 0, [](std::uint32_t is) { return is == answer_to(0); });
    }

    /// Item by item: each comes to its own end.
    void read_as_they_come() {
        const std::uint32_t first = take_slots(stream_size);
        std::vector<std::uint32_t> items;
        std::set<std::uint32_t> answers;
        for (std::uint32_t slot = first; slot < first + stream_size; ++slot) {
            items.push_back(slot);
            answers.insert(answer_to(slot));
        }
        auto results = chance(2) ? pool_.imap(be_quick, items, 3) : pool_.imap_unordered(be_quick, items, 3);
        tally_.submitted += stream_size;
        std::uint32_t failed = 0;
        for (std::uint32_t i = 0; i < stream_size && !tally_.is_wrong; ++i)
            failed += note_end(1, [&] {
                const auto answer = results.next(patience);
                if (!answer || answers.erase(*answer) != 1) tally_.complain("an item has the wrong value");
            });
        if (!tally_.is_wrong) look_at_beginnings(first, stream_size, failed);
    }

    template <class T>
    plait::Future<T> counted(plait::Future<T> future, std::uint64_t tasks) {
        tally_.submitted += tasks;
        future.add_done_callback([&killer = killer_](const plait::Future<T>& done) {
            if (done.cancelled() || done.successful()) return;
            try {
                std::rethrow_exception(done.exception());
            } catch (const plait::ProcessDied& death) {
                killer.note_news(death);
            } catch (...) {
                // The submitter looks at the others.
            }
        });
        return future;
    }

    /// One call of `count` tasks from `slot` on; 0 for the one that nobody counts the beginnings of.
    template <class T, class IsRight>
    void settle(const plait::Future<T>& future, std::uint32_t slot, std::uint32_t count, IsRight is_right) {
        const std::uint32_t tasks = (std::max)(count, 1U);
        if (tally_.is_wrong) return;
        if (!future.wait(patience)) return tally_.complain("a task is not answered within 20 s");
        const std::uint32_t failed = note_end(tasks, [&] {
            if (!is_right(future.get())) tally_.complain("a task has the wrong value");
        });
        look_at_beginnings(slot, count, failed);
    }

    /// Counts what `get` gives or throws for a call of `tasks`; returns how many of them may never have begun.
    template <class Get>
    std::uint32_t note_end(std::uint32_t tasks, Get get) {
        try {
            get();
            tally_.completed += tasks;
            return 0;
        } catch (const plait::ProcessDied&) {
            // Of a map it is the first error: the other items ran, too.
            ++tally_.died;
            tally_.completed += tasks - 1;
        } catch (const plait::TaskTimeoutError&) {
            ++tally_.timed_out;
            tally_.completed += tasks - 1;
        } catch (const plait::CancelledError&) {
            tally_.cancelled += tasks;
        } catch (const plait::PoolTerminatedError&) {
            tally_.dropped += tasks;
            is_over_ = true;
        } catch (const std::out_of_range&) {
            ++tally_.threw;
            return 0;
        } catch (const plait::TimeoutError&) {
            tally_.complain("an item is not there within 20 s");
        } catch (const std::exception& error) {
            tally_.complain(std::string("a task fails with something else: ") + error.what());
        }
        return tasks;
    }
    void look_at_beginnings(std::uint32_t first, std::uint32_t count, std::uint32_t most_unbegun) {
        std::uint32_t unbegun = 0;
        for (std::uint32_t i = first; i < first + count; ++i) {
            const std::uint32_t begun = std::atomic_ref<std::uint32_t>{ledger_[i]}.exchange(0);
            if (begun > 1) tally_.complain("a task began " + std::to_string(begun) + " times");
            if (begun == 0) ++unbegun;
        }
        if (unbegun > most_unbegun) tally_.complain("a task has a result and never began");
        if (!is_over_) tally_.unbegun += unbegun;
    }

    mp::Pool& pool_;
    Killer& killer_;
    Tally& tally_;
    const Ledger ledger_;
    const std::uint32_t first_;
    const Mix mix_;
    std::mt19937_64 random_;
    std::uint32_t next_ = 0;
    bool is_over_ = false;
    std::vector<Submitted<std::uint32_t>> ones_;
    std::vector<Submitted<std::string>> texts_;
    std::vector<Submitted<std::vector<std::uint32_t>>> maps_;
};

}  // namespace support::pool_load

// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/detail/shared_wait.hpp>
#include <plait/os/mutex.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// A Lock in shared memory.
///
/// Whose owner died is decided by the system, and remembered here until somebody calls `recover`. To die is harmless at
/// every step: who sees owner_died owns the mutex from then on, so its own death, before or after it has written that
/// down, makes the system say so once more; and lost_ is cleared by an owner alone, whose death is told likewise. The one
/// thing that cannot be told is a death between a section's end and the unlock, or between the lock and a section's
/// begin: it counts as one in the section.
class LockState {
public:
    /// Whether the caller owns it now. Throws: OwnerDiedError, UsageError where it did already.
    bool acquire(Deadline deadline) {
        os::MutexResult result = mutex_.try_lock();
        if (result == os::MutexResult::timed_out) result = lock_slowly(deadline);
        return settle(result);
    }
    bool try_acquire() { return settle(mutex_.try_lock()); }
    /// Throws: UsageError where the caller does not own it.
    void release() {
        if (!mutex_.unlock()) excuse();
    }
    /// Acquires it, and makes it usable again. Whether an owner had died.
    bool recover() {
        const os::MutexResult result = lock_slowly(Deadline::never());
        if (result == os::MutexResult::already_mine) throw_already_owned();
        if (lost_in_wait().lock == this) lost_in_wait() = {};
        again_ = 0;
        sync_point();
        const bool was_lost = lost_.exchange(0, std::memory_order_relaxed) != 0;
        sync_point();
        return was_lost || result == os::MutexResult::owner_died;
    }

    // For an RLock: the owner takes it again and again.
    bool acquire_again() {
        if (!mutex_.owned()) return false;
        if (again_ == UINT32_MAX) throw UsageError("an RLock cannot be held more than 4294967296 times: release it");
        ++again_;
        return true;
    }
    void release_once() {
        if (!mutex_.owned() || again_ == 0)
            release();
        else
            --again_;
    }

    // For a Condition, which gives it up for a wait.
    std::uint32_t release_all() {
        const std::uint32_t again = again_;
        again_ = 0;
        release();
        return again;
    }
    void restore(std::uint32_t again) {
        try {
            acquire(Deadline::never());
        } catch (const OwnerDiedError&) {
            lost_in_wait() = {this, std::uint64_t{again} + 1};
            throw;
        }
        again_ = again;
    }
    /// Whether its last owner died; for who does not own it. Looks where nobody has noticed yet, and leaves a lock that is
    /// free alone.
    bool is_lost() noexcept {
        if (mutex_.locked()) {
            const os::MutexResult result = mutex_.try_lock();
            if (result == os::MutexResult::owner_died) remember_loss();
            if (result != os::MutexResult::timed_out) mutex_.unlock();
        }
        return lost_.load(std::memory_order_relaxed) != 0;
    }

    [[nodiscard]] bool locked() const noexcept { return mutex_.locked(); }
    [[nodiscard]] bool owned() const noexcept { return mutex_.owned(); }
    [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.load(std::memory_order_relaxed); }

    /// The last handle in this process goes. Returns whether the memory may: a mutex that another thread holds may not,
    /// or the system could not tell of the deaths of that thread's other ones.
    bool abandon() noexcept {
        if (!mutex_.owned()) return !mutex_.owned_by_this_process();
        remember_loss();
        mutex_.unlock();
        return true;
    }

private:
    os::MutexResult lock_slowly(Deadline deadline) noexcept {
        waiting_.fetch_add(1, std::memory_order_relaxed);
        const os::MutexResult result = mutex_.lock(deadline);
        waiting_.fetch_sub(1, std::memory_order_relaxed);
        return result;
    }
    bool settle(os::MutexResult result) {
        if (result == os::MutexResult::timed_out) return false;
        if (result == os::MutexResult::already_mine) throw_already_owned();
        if (result == os::MutexResult::owner_died) remember_loss();
        if (lost_.load(std::memory_order_relaxed) == 0) return true;
        mutex_.unlock();
        throw_lost();
    }
    void remember_loss() noexcept {
        sync_point();
        lost_.store(1, std::memory_order_relaxed);
        sync_point();
    }

    /// A wait that throws OwnerDiedError has lost the lock that the guards around it are about to release. They are excused,
    /// for what would leave their destructors would end the program.
    struct LostInWait {
        const LockState* lock = nullptr;
        std::uint64_t releases = 0;
    };
    PLAIT_VISIBLE static LostInWait& lost_in_wait() noexcept {
        static constinit thread_local LostInWait lost;
        return lost;
    }
    void excuse() const {
        LostInWait& lost = lost_in_wait();
        if (lost.lock != this || lost.releases == 0)
            throw UsageError("release of a lock that this thread does not hold: only the thread that acquired it may");
        --lost.releases;
    }

    [[noreturn]] static void throw_lost() {
        throw OwnerDiedError(
            "the owner of this lock ended without releasing it, so what it guards may be half changed: call recover(), "
            "which acquires it, repair that, and release");
    }
    [[noreturn]] static void throw_already_owned() {
        throw UsageError("a second acquire by the thread that holds the lock would wait for itself: use an RLock");
    }

    os::Mutex mutex_;
    // 1 from the death of an owner until `recover`, else 0. Written by the mutex's owner alone.
    std::atomic<std::uint32_t> lost_{0};
    std::atomic<std::uint32_t> waiting_{0};  // a hint: who is killed while it waits stays counted
    // How often an RLock's owner has acquired it beyond the first time: 0 when it is free. For the owner alone.
    std::uint32_t again_ = 0;
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstdint>

namespace plait::inline PLAIT_ABI::asyncio::detail {

class TaskBase;

/// Where a request to cancel went that was passed on in that turn of the loop: another in the same turn, in which nothing
/// else happens, goes there at once. So who cancels each of a long chain of tasks walks it once.
struct CancelMark {
    std::uint64_t turn = UINT64_MAX;
    TaskBase* end = nullptr;  // null while the request is on its way
};

/// What a suspended task waits for.
class Waiter {
public:
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;

    /// The task is asked to end. True where the request was passed on, and will come back by the way of the result;
    /// false where the wait has been given up: the task is to be woken, and throws CancelledError.
    virtual bool cancel_wait() noexcept = 0;
    /// Where the wait is for another task, the one to cancel in its stead; and which request was last passed on to it.
    [[nodiscard]] virtual TaskBase* awaited_task() const noexcept { return nullptr; }
    [[nodiscard]] virtual CancelMark* cancel_mark() noexcept { return nullptr; }

protected:
    Waiter() = default;
    ~Waiter() = default;
};

/// Who is told of a task's end: once, on its loop, in the order in which they came. Unlinks itself in its destructor.
class DoneLink {
public:
    DoneLink(const DoneLink&) = delete;
    DoneLink& operator=(const DoneLink&) = delete;

    /// The task has ended, and this is no longer linked. May queue work, but runs none of the user's.
    virtual void on_done() noexcept = 0;
    /// Its loop closed before that; it is no longer linked.
    virtual void on_abandoned() noexcept {}
    /// The task that waits for the end by this link; null where it is no task.
    [[nodiscard]] virtual const TaskBase* waiting_task() const noexcept { return nullptr; }

protected:
    DoneLink() = default;
    ~DoneLink() { unlink(); }
    inline void unlink() noexcept;

private:
    friend class TaskBase;
    TaskBase* task_ = nullptr;  // where it is linked
    DoneLink* next_ = nullptr;
    DoneLink* previous_ = nullptr;
};

/// A wait for several tasks that passes a cancellation on to them.
///
/// Any of them may wait for others in the same way, a hundred thousand deep: so a relay that is asked while another is
/// at work is only noted, and has its turn from there, not from the stack.
class CancelRelay {
public:
    CancelRelay(const CancelRelay&) = delete;
    CancelRelay& operator=(const CancelRelay&) = delete;

protected:
    /// The relays of one loop that have been asked in the course of one request, in the order of their turns.
    ///
    /// None of them dies meanwhile: they lie in frames of coroutines, and passing a request on resumes none.
    class Course {
        friend class CancelRelay;
        CancelRelay* first_ = nullptr;
        CancelRelay* last_ = nullptr;
        CancelRelay* at_work_ = nullptr;
    };
    friend class LoopCore;

    CancelRelay() = default;
    ~CancelRelay() = default;

    /// Cancels the tasks, now or after those that were asked before. False where this very request came from here, round
    /// a ring of waits: who waits is then to give up, or nobody could ever be cancelled.
    bool relay_cancel(Course& course) noexcept;
    virtual void cancel_each() noexcept = 0;

private:
    bool noted_ = false;  // in the present course
    CancelRelay* cause_ = nullptr;
    CancelRelay* following_ = nullptr;
};

inline bool CancelRelay::relay_cancel(Course& course) noexcept {
    if (noted_) {
        // Asked again in one course: by another that waits for the same task, which changes nothing, or by itself.
        for (const CancelRelay* relay = course.at_work_; relay != nullptr; relay = relay->cause_)
            if (relay == this) return false;
        return true;
    }
    noted_ = true;
    cause_ = course.at_work_;
    following_ = nullptr;
    (course.first_ != nullptr ? course.last_->following_ : course.first_) = this;
    course.last_ = this;
    if (course.at_work_ != nullptr) return true;
    for (CancelRelay* relay = this; relay != nullptr; relay = relay->following_) {
        course.at_work_ = relay;
        relay->cancel_each();
    }
    course.at_work_ = nullptr;
    while (course.first_ != nullptr) {
        course.first_->noted_ = false;
        course.first_ = course.first_->following_;
    }
    return true;
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail

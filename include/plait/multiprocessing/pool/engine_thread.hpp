// SPDX-License-Identifier: MIT
#pragma once

#include <plait/multiprocessing/pool/engine.hpp>

#include <algorithm>
#include <array>
#include <cstdio>

// What the engine does in the background: deaths, time limits, the end, and replies while nobody attends.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

inline bool Engine::join(Timeout timeout) {
    if (!closed_.load(std::memory_order_acquire) && !terminated_.load(std::memory_order_acquire))
        throw UsageError("Pool::join: the pool still takes work; call close() or terminate() first");
    const Deadline deadline{timeout};
    const auto running = [this] { return !ended_.load(std::memory_order_acquire); };
    while (running())
        if (plait::detail::parking::sleep(&ended_, deadline, running) == plait::detail::parking::Result::timed_out)
            return false;
    if (!callbacks_.is_this_thread() && !progress_calls_.is_this_thread())
        end_threads();  // a callback's own thread may be what another caller waits for
    return true;
}

inline std::exception_ptr describe_failed_initializer(const std::vector<std::byte>& error) noexcept {
    if (error.empty()) return nullptr;
    try {
        Decoder in(error);
        return std::make_exception_ptr(
            BrokenPoolError("the pool's initializer failed: " + plait::detail::describe(read_exception(in))));
    } catch (...) {
        return std::current_exception();
    }
}

inline void Engine::run() {
    Lock lock{mutex_};
    while (!terminated_ && !(closed_ && all_settled())) {
        Harvest harvest;
        bool goes_on = true;
        try {
            if (background_error_) std::rethrow_exception(background_error_);
            goes_on = work(harvest);
        } catch (...) {
            // Out of memory or of descriptors, here in the engine: everybody is told, and the pool is over.
            background_error_ = nullptr;
            break_with(lock, std::current_exception());
        }
        const bool some = !harvest.empty();
        harvest.drop_all(done_with_);
        std::vector<std::byte> initializer_error;
        initializer_error.swap(initializer_error_);
        lock.unlock();
        harvest.settle();
        const std::exception_ptr failed = describe_failed_initializer(initializer_error);
        lock.lock();
        if (failed) background_error_ = failed;
        if (some || failed || goes_on) continue;
        try {
            wait(lock);
        } catch (...) {
            if (!lock.owns_lock()) lock.lock();
            background_error_ = std::current_exception();
        }
    }
    if (terminated_) {
        Harvest harvest;
        fail_everything(std::make_exception_ptr(PoolTerminatedError("the pool was terminated before this task began")),
                        harvest);
        lock.unlock();
        harvest.settle();
        lock.lock();
    } else if (!broken_) {
        try {
            retire_all(lock);
        } catch (...) {
            if (!lock.owns_lock()) lock.lock();  // they are not asked, then
        }
    }
    lock.unlock();
    crew_.end();
    lock.lock();
    for (CrewMember& member : crew_.members()) member.state = CrewMember::State::absent;
    lock.unlock();
    tell_of_change();
    // Release pairs with the acquire in join.
    ended_.store(true, std::memory_order_release);
    plait::detail::parking::wake_all(&ended_);
}

/// All there is to do now. False where it may wait for more.
inline bool Engine::work(Harvest& harvest) {
    if (broken_) {
        for (Batch& batch : queue_) harvest.add_failure(batch.call, batch.next, batch.end, broken_);
        queue_.clear();
        return false;
    }
    if (std::exchange(maker_ended_, false)) settle_end_of_maker(harvest);
    // An attendant that has not come to it: it runs the user's code, or was not told as its tasks used to be so short.
    const bool is_late = attendant_ != std::thread::id{} && some_have_news();
    if (is_late)
        for (CrewMember& member : crew_.members()) member.depth = CrewMember::least_depth;
    collect_all(harvest);
    if (!initializer_error_.empty()) return true;  // what its worker's death would only hint at
    for (CrewMember& member : crew_.members()) {
        if (member.is_busy()) write_output(member);  // wakes it, if that failed before
        look_after(member, harvest);
    }
    dispatch(harvest);
    // Until it comes back.
    if (attendant_ != std::thread::id{} && !(is_late && !attendant_sleeps_) && listener_ != Slot::background)
        return false;
    set_listener(Slot::background);
    plait::detail::sync_point();
    return some_have_news();
}

inline plait::detail::Deadline Engine::next_deadline() const {
    Deadline next = Deadline::never();
    const auto include = [&](Deadline deadline) {
        if (deadline < next) next = deadline;
    };
    for (const CrewMember& member : crew_.members()) {
        if (member.state == CrewMember::State::absent) include(member.retry_at);
        if (member.ending != CrewMember::Ending::no) {
            include(member.kill_at);
            continue;
        }
        if (member.channel_ended) include(member.suspect_at);
        if (member.is_busy()) include(member.time_limit());
    }
    // A task may write over the words by which its worker knows whom to wake, and over its mark, and use up memory.
    if (looks_) include(Deadline{std::chrono::milliseconds{crew_.options().memory_limit ? 50 : 100}});
    return next;
}

/// Until there is something to do.
inline void Engine::wait(Lock& lock) {
    poll_items_.clear();
    poll_items_.emplace_back(waker_.handle(), os::readable);
    if (!broken_) {
        poll_items_.emplace_back(crew_.control(), os::readable);
        for (const CrewMember& member : crew_.members()) {
            const bool open = member.channel && !member.channel_ended;
            poll_items_.emplace_back(open ? member.channel.get() : os::Handle::none, os::readable);
        }
    }
    looks_ = !all_settled() || next_task_ != seen_task_;
    seen_task_ = next_task_;
    awake_at_ = broken_ ? Deadline::never() : next_deadline();
    const Deadline deadline = awake_at_;
    lock.unlock();
    os::poll(poll_items_, deadline);
    lock.lock();
    awake_at_ = Deadline::at({});
    if (poll_items_[0].is_ready()) waker_.clear();
    if (broken_ || poll_items_.size() == 1) return;
    for (std::size_t i = 0; i < crew_.members().size(); ++i) {
        if (!poll_items_[i + 2].is_readable()) continue;
        CrewMember& member = crew_.members()[i];
        std::array<std::byte, 64> looks;
        if (!os::receive_some(member.channel, looks).closed) continue;
        // Most likely it died, and the maker is about to say of what.
        member.channel_ended = true;
        member.suspect_at = Deadline{std::chrono::milliseconds{500}};
    }
    if (!poll_items_[1].is_ready()) return;
    maker_ended_ = !crew_.read_reports();
    tell_of_change();
}

inline void Engine::look_after(CrewMember& member, Harvest& harvest) {
    if (member.death) settle_death(member, harvest);
    if (member.state == CrewMember::State::absent) {
        if (member.retry_at.has_passed()) {
            bury(member);
            crew_.replace(member);
        }
        return;
    }
    if (member.ending != CrewMember::Ending::no) {
        if (member.kill_at.has_passed()) {
            crew_.kill(member, os::certain_end);
            member.kill_at = Deadline{std::chrono::seconds{1}};
        }
    } else if (member.channel_ended && member.suspect_at.has_passed()) {
        // It closed its end and lives on: nothing more can come of it.
        crew_.end_member(member, CrewMember::Ending::misbehaved);
    } else if (member.is_busy() && !member.has_sound_mark()) {
        misbehaves(member);
    } else if (member.is_busy() && member.time_limit().has_passed()) {
        collect(member, harvest);  // those that it has done with are not the one that takes so long
        if (member.is_busy() && member.time_limit().has_passed() &&
            member.slot().mark.stop_at(member.batches.front().task())) {
            end_front(member, CrewMember::Ending::timeout);
        }
    } else if (member.is_busy() && crew_.options().memory_limit) {
        look_at_memory(member, harvest);
    }
}

/// Ends a worker for the sake of the task that it is at, and at which its mark was stopped. What stands behind that one does
/// not wait for its end.
inline void Engine::end_front(CrewMember& member, CrewMember::Ending why, int number) {
    Batch& front = member.batches.front();
    member.ended_task = front.task();
    crew_.end_member(member, why, number);
    while (member.batches.size() > 1) {
        put_back(std::move(member.batches.back()));
        member.batches.pop_back();
    }
    if (front.left() == 1) return;
    Batch rest = front;
    ++rest.next;
    rest.trim();
    front.end = rest.first;
    front.end_byte = rest.begin_byte;
    put_back(std::move(rest));
}

inline void Engine::look_at_memory(CrewMember& member, Harvest& harvest) {
    const auto memory = os::resident_memory(member.pid);
    if (!memory || *memory <= *crew_.options().memory_limit) return;
    collect(member, harvest);
    if (!member.is_busy() || !member.slot().mark.stop_at(member.batches.front().task())) return;
    // It is not asked: it might take more meanwhile.
    end_front(member, CrewMember::Ending::memory, os::certain_end);
}

/// Its memory stays as long as an attendant may look at it.
inline void Engine::bury(CrewMember& member) noexcept {
    if (attendant_ == std::thread::id{}) return;
    if (graveyard_.size() < graveyard_.capacity())
        graveyard_.push_back(std::move(member.memory));
    else
        member.memory.keep_mapped();
}

inline void Engine::settle_death(CrewMember& member, Harvest& harvest) {
    collect(member, harvest);  // what it had still said
    // Replaced first: who is told of the death, and looks at the workers, sees living ones.
    CrewMember dead = std::exchange(member, CrewMember{});
    // Also one that was ended for its channel's end: on a busy machine the news of its death may come after that.
    const bool at_start = dead.state == CrewMember::State::starting &&
                          (dead.ending == CrewMember::Ending::no || dead.ending == CrewMember::Ending::misbehaved);
    member.deaths_at_start = dead.deaths_at_start + (at_start ? 1 : 0);
    deaths_at_start_ += at_start ? 1 : 0;
    crew_.replace(member);
    while (!dead.output.empty()) done_with_.push_back(dead.output.pop_front().call);

    if (!dead.batches.empty()) {
        // The one that it was at; more where the results of those before are not to be trusted. Who wrote over its mark
        // had begun, whatever that says now.
        std::uint64_t begun = (std::max)(dead.begun(), std::uint64_t{dead.is_distrusted ? 1U : 0U});
        // One that each worker dies of before it can mark it, by its size perhaps, is not given out for ever.
        const Batch& front = dead.batches.front();
        const bool was_read = dead.slot().reading.load(std::memory_order_relaxed) == front.first_task() + 1;
        unsigned& deaths_before = front.call->deaths_before;
        if (begun == 0 && was_read && dead.ending == CrewMember::Ending::no &&
            ++deaths_before >= crew_.options().restart_limit) {
            deaths_before = 0;
            begun = 1;
        }
        for (Batch& batch : dead.batches)
            for (; begun > 0 && batch.left() > 0; --begun, ++batch.next)
                harvest.add_failure(batch.call, batch.next, batch.next + 1,
                                    describe_death(dead, batch, crew_.options()));
        while (!dead.batches.empty()) {
            Batch& last = dead.batches.back();
            if (last.left() > 0) {
                last.trim();
                put_back(std::move(last));
            }
            dead.batches.pop_back();
        }
    }
    bury(dead);
    // Not where all were killed at once, however many they are: one of them has died again, too.
    const unsigned limit = crew_.options().restart_limit;
    if (at_start && deaths_at_start_ >= limit && member.deaths_at_start >= (std::min)(limit, 2U) &&
        initializer_error_.empty())
        throw BrokenPoolError("the pool's workers die again and again before they can work; the last one " +
                              describe_end(dead.death->code));
}

inline void Engine::settle_end_of_maker(Harvest& harvest) {
    const bool is_replaced = ++makers_lost_ < crew_.options().restart_limit && crew_.replace_maker();
    for (CrewMember& member : crew_.members())
        if (member.death) settle_death(member, harvest);
    if (is_replaced) return;
    throw BrokenPoolError(crew_.options().start_method == StartMethod::fork
                              ? "the process that makes this pool's workers was killed, and with StartMethod::fork "
                                "there is no other copy of "
                                "the program as it was: make a new Pool"
                              : "the process that makes this pool's workers ends again and again before one can work");
}

inline std::exception_ptr describe_death(const CrewMember& member, const Batch& batch, const CrewOptions& options) {
    const Report& death = *member.death;
    const std::string worker = "worker " + std::to_string(member.pid);
    const std::string task = "task " + std::to_string(batch.task()) + ", " + std::string(batch.call->name);
    const auto mebibytes = [](std::uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; };
    const bool for_its_sake = member.ended_task == batch.task();
    if (member.ending == CrewMember::Ending::timeout && for_its_sake) {
        char limit[32];
        std::snprintf(limit, sizeof limit, "%g s",
                      std::chrono::duration<double>(batch.call->timeout.duration()).count());
        return std::make_exception_ptr(
            TaskTimeoutError(task + ", ran longer than its limit of " + limit + "; " + worker + " was killed with it",
                             member.pid, batch.task()));
    }
    std::string text = worker + " " + describe_end(death.code) + " while it ran " + task;
    if (member.ending == CrewMember::Ending::memory && for_its_sake)
        text += "; it used more than the pool's memory_limit of " + mebibytes(*options.memory_limit) + ", up to " +
                mebibytes(death.memory);
    else if (member.ending == CrewMember::Ending::misbehaved)
        text += "; it had closed its channel to the pool, or written over what it shares with it";
    else if (member.ending == CrewMember::Ending::orphaned)
        text += "; the process that made it had been killed";
    else if (member.ending == CrewMember::Ending::terminated)
        text += "; the pool was terminated";
    else if (death.code == -os::certain_end)
        text += "; plait did not send that: perhaps the kernel was out of memory, the worker had used up to " +
                mebibytes(death.memory);
    return std::make_exception_ptr(ProcessDied(text, member.pid, death.code));
}

/// Nothing is left to any worker, or in the queue.
inline void Engine::fail_everything(const std::exception_ptr& exception, Harvest& harvest) noexcept {
    try {
        try_to_fail_everything(exception, harvest);
    } catch (...) {
        // No memory for it: what is dropped is a broken promise.
        for (CrewMember& member : crew_.members()) member.batches.clear();
        queue_.clear();
    }
}
inline void Engine::try_to_fail_everything(const std::exception_ptr& exception, Harvest& harvest) {
    for (CrewMember& member : crew_.members()) {
        if (!member.is_busy()) continue;
        member.slot().mark.stop();
        try {
            collect(member, harvest);
        } catch (...) {
            // What cannot be read any more is as good as not done.
        }
        if (terminated_ && member.runs_front()) {
            if (member.ending == CrewMember::Ending::no) member.ending = CrewMember::Ending::terminated;
            member.death = Report{.kind = Report::Kind::died, .pid = member.pid, .code = -os::certain_end};
            Batch& batch = member.batches.front();
            harvest.add_failure(batch.call, batch.next, batch.next + 1, describe_death(member, batch, crew_.options()));
            ++batch.next;
        }
        for (const Batch& batch : member.batches) harvest.add_failure(batch.call, batch.next, batch.end, exception);
        member.batches.clear();
        member.output.clear();
    }
    for (const Batch& batch : queue_) harvest.add_failure(batch.call, batch.next, batch.end, exception);
    queue_.clear();
}

inline void Engine::break_with(Lock& lock, std::exception_ptr cause) {
    if (broken_) return;
    broken_ = cause;
    Harvest harvest;
    fail_everything(cause, harvest);
    for (CrewMember& member : crew_.members()) {
        member.state = CrewMember::State::absent;
        bury(member);
    }
    lock.unlock();
    tell_of_change();
    crew_.end();
    harvest.settle();
    lock.lock();
}

inline void Engine::retire_all(Lock& lock) {
    const Deadline patience{std::chrono::seconds{5}};
    for (CrewMember& member : crew_.members()) {
        if (member.state == CrewMember::State::absent) {
            member.death = Report{};
        } else if (member.ending == CrewMember::Ending::no) {
            tell_to_leave(member);
        }
    }
    const auto all_gone = [&] {
        return std::all_of(crew_.members().begin(), crew_.members().end(),
                           [](const CrewMember& member) { return member.death.has_value(); });
    };
    while (!all_gone()) {
        os::PollItem items[] = {{crew_.control(), os::readable}, {waker_.handle(), os::readable}};
        lock.unlock();
        const bool has_news = os::poll(items, patience);
        lock.lock();
        if (!has_news || terminated_) return;
        if (items[1].is_ready()) waker_.clear();
        if (items[0].is_ready() && !crew_.read_reports()) return;
    }
}

inline bool Engine::all_settled() const {
    // seq_cst: see settle.
    return queue_.empty() && settling_.load(std::memory_order_seq_cst) == 0 &&
           std::none_of(crew_.members().begin(), crew_.members().end(),
                        [](const CrewMember& member) { return member.is_busy(); });
}

inline void Engine::tell_of_change() noexcept {
    changes_.fetch_add(1, std::memory_order_release);
    plait::detail::parking::wake_all(&changes_);
}

inline std::vector<WorkerInfo> Engine::workers() {
    std::vector<WorkerInfo> infos;
    const Deadline patience{std::chrono::seconds{1}};
    for (;;) {
        const unsigned seen = changes_.load(std::memory_order_acquire);
        infos.clear();
        {
            const std::scoped_lock lock{mutex_};
            for (const CrewMember& member : crew_.members())
                if (member.pid != 0 && member.state != CrewMember::State::absent) infos.push_back(member.info());
            if (infos.size() == processes() || broken_ || closed_ || terminated_) break;
        }
        const auto unchanged = [&] { return changes_.load(std::memory_order_acquire) == seen; };
        if (plait::detail::parking::sleep(&changes_, patience, unchanged) == plait::detail::parking::Result::timed_out)
            break;
    }
    for (WorkerInfo& info : infos) info.memory = os::resident_memory(info.pid);
    return infos;
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

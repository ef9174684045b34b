// SPDX-License-Identifier: MIT
#pragma once

#include <plait/multiprocessing/pool/engine.hpp>

#include <algorithm>
#include <cstring>
#include <system_error>

// What the engine does for whoever has its lock, in the order in which a task meets it: giving and taking.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

inline void Engine::submit(std::shared_ptr<Call> call) {
    Harvest harvest;
    {
        const std::scoped_lock lock{mutex_};
        if (broken_) std::rethrow_exception(broken_);
        if (closed_ || terminated_)
            throw UsageError("the pool takes no more work after close() or terminate(): make a new Pool");
        const std::size_t count = call->count;
        call->first_task = next_task_;
        Call& its_call = *call;
        queue_.push_back(Batch::of(std::move(call)));
        its_call.submitted = true;
        next_task_ += count;
        settling_.fetch_add(1, std::memory_order_relaxed);
        try {
            dispatch(harvest);
            if (!queue_.empty() && awake_at_.is_never()) waker_.wake();  // for those that are being made
        } catch (...) {
            leave_to_background(std::current_exception());
        }
        harvest.drop_all(done_with_);
    }
    settle(harvest);
}

inline void Engine::dispatch(Harvest& harvest) {
    if (broken_ || terminated_) return;
    if (!queue_.empty()) free_those_behind_long_tasks();
    do {
        while (!queue_.empty()) {
            CrewMember* const member = least_loaded();
            if (member == nullptr || (member->is_busy() && !could_wait_in(*member))) break;
            if (!give_next(*member, harvest)) break;
        }
    } while (queue_.empty() && balance());
}

/// Of those that take another batch the one that has the fewest.
inline CrewMember* Engine::least_loaded() noexcept {
    CrewMember* best = nullptr;
    for (CrewMember& member : crew_.members()) {
        if (!member.takes_work() || member.batches.size() >= member.depth) continue;
        const auto& most = crew_.options().max_tasks_per_child;
        if (most && member.tasks_given >= *most) continue;
        if (best == nullptr || member.batches.size() < best->batches.size()) best = &member;
        if (best->batches.empty()) break;
    }
    return best;
}

/// Whether the next batch has room in the ring of a worker that has another to do first. A large one is given to a worker
/// that waits for it, and can still be given to any.
inline bool Engine::could_wait_in(CrewMember& member) const {
    const Batch& next = queue_.front();
    const std::size_t items = (std::min)(next.call->chunk, next.left());
    return member.output.empty() && next.bytes().size() / next.left() * items < member.requests.room() / 2;
}

/// Where a worker has nothing to do while others have what they have not begun, it is taken back from one of them. True
/// where the queue has something now.
inline bool Engine::balance() {
    bool one_is_idle = false;
    CrewMember* richest = nullptr;
    for (CrewMember& member : crew_.members()) {
        one_is_idle = one_is_idle || member.is_idle();
        if (member.batches.size() > 1 && member.ending == CrewMember::Ending::no &&
            (richest == nullptr || member.batches.size() > richest->batches.size()))
            richest = &member;
    }
    if (!one_is_idle || richest == nullptr) return false;
    recall(*richest);
    return !queue_.empty();
}
/// Where a worker has nothing to do while another is still at the task that it was at when that was so the last time, what
/// waits behind that one is taken back: it came before what the queue has.
inline void Engine::free_those_behind_long_tasks() {
    if (std::none_of(crew_.members().begin(), crew_.members().end(),
                     [](const CrewMember& member) { return member.is_idle(); }))
        return;
    for (CrewMember& member : crew_.members()) {
        const bool is_stuck = member.tasks_done == std::exchange(member.tasks_done_before, member.tasks_done);
        if (is_stuck && member.batches.size() > 1 && member.ending == CrewMember::Ending::no) recall(member);
    }
}

/// The next batch of the queue to `member`; false where there was none that anybody wants.
inline bool Engine::give_next(CrewMember& member, Harvest& harvest) {
    while (!queue_.front().call->sink->begin()) {
        std::shared_ptr<Call> call = std::move(queue_.front().call);
        queue_.pop_front();
        harvest.drop(std::move(call));
        if (queue_.empty()) return false;
    }
    Batch& front = queue_.front();
    std::size_t count = (std::min)(front.call->chunk, front.left());
    if (const auto& most = crew_.options().max_tasks_per_child)
        count = (std::min)(count, static_cast<std::size_t>(*most - member.tasks_given));
    member.batches.push_back(Batch{});
    member.batches.back() = front.take(count);
    if (front.left() == 0) queue_.pop_front();
    const Batch& batch = member.batches.back();
    const std::shared_ptr<Call>& call = batch.call;

    member.tasks_given += count;
    const std::size_t busy = static_cast<std::size_t>(std::count_if(
        crew_.members().begin(), crew_.members().end(), [](const CrewMember& each) { return each.is_busy(); }));
    member.slot().may_spin.store(busy < processors_, std::memory_order_relaxed);
    member.slot().listener.store(listener_, std::memory_order_relaxed);
    if (member.callable != call->callable) {
        member.callable = call->callable;
        send(member, {.kind = Request::Kind::callable, .size = call->callable.size()}, call, call->callable);
    }
    const bool timed = !call->timeout.is_never();
    // One that has come to be given so many does each in no time: four looks for what it has are enough. Should these be
    // long ones after all, the background looks ten times a second.
    const bool told_later =
        member.depth > 2 * CrewMember::least_depth && !queue_.empty() && batch.first_task() % (member.depth / 4) != 0;
    send(member,
         {.kind = Request::Kind::tasks,
          .flags = (timed ? std::uint32_t{Request::timed} : 0) |
                   (call->told_singly ? std::uint32_t{Request::told_singly} : 0) |
                   (told_later ? std::uint32_t{Request::told_later} : 0),
          .task = batch.first_task(),
          .count = count,
          .size = batch.bytes().size()},
         call, batch.bytes());
    write_output(member);
    if (timed) be_awake_at(Deadline{call->timeout});
    if (!looks_) waker_.wake();  // now and then, while there is work
    return true;
}

/// Puts a request into the ring, or behind what waits for room in it; `write_output` tells the worker.
inline void Engine::send(CrewMember& member, Request head, const std::shared_ptr<Call>& call,
                         std::span<const std::byte> body) {
    if (member.output.empty() && member.requests.takes(sizeof head + body.size())) {
        member.requests.put(bytes_of(head));
        member.requests.put(body);
    } else {
        member.output.push_back({head, call, body});
    }
}

inline void Engine::write_output(CrewMember& member) {
    Slot& slot = member.slot();
    for (;;) {
        while (!member.output.empty()) {
            PendingRequest& next = member.output.front();
            const std::size_t room = member.requests.room();
            if (room == 0) break;
            const auto head = bytes_of(next.head).subspan((std::min)(next.done, sizeof next.head));
            const auto some_of_head = head.first((std::min)(room, head.size()));
            member.requests.put(some_of_head);
            next.done += some_of_head.size();
            if (next.done >= sizeof next.head) {
                const auto body = next.body.subspan(next.done - sizeof next.head);
                const auto some = body.first((std::min)(room - some_of_head.size(), body.size()));
                member.requests.put(some);
                next.done += some.size();
            }
            // Not let go of here: it may be the last that has the call, whose end is the user's code.
            if (next.done == next.size()) done_with_.push_back(member.output.pop_front().call);
        }
        member.requests.publish_and_look();
        plait::detail::sync_point();
        wake_worker(member, Slot::for_requests);
        if (member.output.empty()) {
            if (slot.output_waits.load(std::memory_order_relaxed) != 0)
                slot.output_waits.store(0, std::memory_order_relaxed);
            return;
        }
        slot.output_waits.store(1, std::memory_order_seq_cst);
        if (member.requests.room() == 0) return;
    }
}

/// If it sleeps for that.
inline void Engine::wake_worker(CrewMember& member, Slot::Waits waits) {
    std::atomic<std::uint32_t>& word = member.slot().worker_waits;
    if (word.load(std::memory_order_seq_cst) != waits) return;
    if (word.exchange(Slot::for_nothing, std::memory_order_seq_cst) == Slot::for_nothing) return;
    try {
        const std::byte look{};
        static_cast<void>(os::send_some(member.channel, {&look, 1}));
    } catch (const std::system_error&) {
        word.store(waits, std::memory_order_seq_cst);  // no memory in the kernel for a byte: the background tries again
    }
}

/// To its place in the queue, which is in the order of the tasks' numbers: at the front, or close to it.
inline void Engine::put_back(Batch batch) {
    const auto place =
        std::find_if(queue_.begin(), queue_.end(), [&](const Batch& each) { return each.task() > batch.task(); });
    queue_.insert(place, std::move(batch));
}

/// Takes back what `member` has not begun.
inline void Engine::recall(CrewMember& member) {
    if (member.ending != CrewMember::Ending::no) return;
    if (member.is_busy() && !member.has_sound_mark()) return misbehaves(member);
    const std::uint64_t mark = member.slot().mark.recall();
    std::size_t kept = 0;
    for (std::size_t i = 0; i < member.batches.size(); ++i)
        if (Mark::begun_of(mark, member.batches[i].first_task(), member.batches[i].size()) != 0) kept = i + 1;
    while (member.batches.size() > kept) {
        member.tasks_given -= member.batches.back().size();
        put_back(std::move(member.batches.back()));
        member.batches.pop_back();
    }
    member.depth = CrewMember::least_depth;
    // What it has not seen a byte of it need not see.
    member.output.erase_if([&](PendingRequest& each) {
        if (each.done != 0 || each.head.kind != Request::Kind::tasks) return false;
        done_with_.push_back(std::move(each.call));
        return true;
    });
    send(member, {.kind = Request::Kind::resume}, nullptr, {});
    write_output(member);
}

/// Ends a worker that has done its share.
inline void Engine::retire(CrewMember& member) {
    if (member.is_busy() && !member.retires) recall(member);
    member.retires = true;
    if (member.is_busy()) return;  // it has begun another meanwhile: after that
    tell_to_leave(member);
    be_awake_at(member.kill_at);
}
inline void Engine::tell_to_leave(CrewMember& member) {
    send(member, {.kind = Request::Kind::leave}, nullptr, {});
    write_output(member);
    // Where it would have to read something large before that, which nobody wants any more, it is ended.
    if (!member.output.empty()) return crew_.end_member(member, CrewMember::Ending::retired);
    member.ending = CrewMember::Ending::retired;
    member.kill_at = Deadline{std::chrono::seconds{5}};
}

inline void Engine::collect_all(Harvest& harvest) {
    for (CrewMember& member : crew_.members()) {
        if (!member.is_heard()) continue;
        collect(member, harvest);
        if (!member.output.empty()) write_output(member);
    }
}

inline void Engine::collect(CrewMember& member, Harvest& harvest) {
    if (member.ending == CrewMember::Ending::misbehaved) return;
    const std::uint64_t available = member.replies.available();
    if (available == 0) {
        // It waits for room in an empty ring: a task wrote over the number that says so.
        if (member.slot().worker_waits.load(std::memory_order_relaxed) != Slot::for_room) return;
        member.replies.free();
        return wake_worker(member, Slot::for_room);
    }
    if (available > decltype(Slot::replies)::capacity) return misbehaves(member);
    const std::size_t used = member.input.size();
    member.input.resize(used + static_cast<std::size_t>(available));
    member.replies.take(std::span{member.input}.subspan(used));
    member.replies.free();
    plait::detail::sync_point();
    wake_worker(member, Slot::for_room);
    understand(member, harvest);
}

inline void Engine::understand(CrewMember& member, Harvest& harvest) {
    const bool was_busy = member.is_busy();
    std::uint64_t expected = member.begun();
    std::size_t read = 0;
    std::size_t run_began = 0;
    std::size_t run_first = was_busy ? member.batches.front().next : 0;
    const auto end_run = [&] {
        if (!member.is_busy()) return;
        const Batch& batch = member.batches.front();
        if (batch.next != run_first)
            harvest.add_replies(batch.call, run_first, batch.next - run_first, run_began, read);
        run_began = read;
    };
    while (member.input.size() - read >= sizeof(std::uint64_t) && member.ending != CrewMember::Ending::misbehaved) {
        std::uint64_t word;
        std::memcpy(&word, member.input.data() + read, sizeof word);
        const Reply reply = Reply::unpack(word);
        // Looked at before the rest of it is waited for, which may never come.
        if (member.is_busy() && expected > 0 && is_result_of(reply, member.batches.front().task())) {
            if (reply.size <= member.input.size() - read - sizeof word) --expected;
        } else if (member.state != CrewMember::State::starting || !is_first(reply)) {
            misbehaves(member);
            break;
        }
        if (reply.size > member.input.size() - read - sizeof word) break;
        const std::size_t size = static_cast<std::size_t>(reply.size);
        if (reply.kind == Reply::Kind::ready) {
            member.state = CrewMember::State::ready;
            for (CrewMember& other : crew_.members())
                if (other.batches.size() > 1) recall(other);  // first come, first served: by this one, too
            deaths_at_start_ = 0;
            for (CrewMember& other : crew_.members()) other.deaths_at_start = 0;
            makers_lost_ = 0;
        } else if (reply.kind == Reply::Kind::initializer_failed) {
            const auto payload = std::span{member.input}.subspan(read + sizeof word, size);
            initializer_error_.assign(payload.begin(), payload.end());
            waker_.wake();  // it decodes what may be the user's own type
        }
        read += sizeof word + size;
        if (!member.is_busy()) {
            run_began = read;
            continue;
        }
        Batch& batch = member.batches.front();
        ++batch.next;
        ++member.tasks_done;
        member.mark_at_rest = batch.task() & Mark::number;
        batch.call->deaths_before = 0;
        if (batch.left() > 0) continue;
        end_run();
        done_with_.push_back(member.batches.pop_front().call);
        if (member.is_busy()) run_first = member.batches.front().next;
    }
    end_run();
    if (read > 0) harvest.keep(member.input, read);
    if (member.ending == CrewMember::Ending::misbehaved) member.input.clear();
    if (read == 0 || !was_busy || member.ending != CrewMember::Ending::no) return;

    const CrewOptions& options = crew_.options();
    if (member.retires || (options.max_tasks_per_child && member.tasks_done >= *options.max_tasks_per_child) ||
        (options.max_memory_per_child && os::resident_memory(member.pid) > options.max_memory_per_child))
        return retire(member);
    // It came to the end of what it had before anybody gave it more: it works faster than we look.
    if (!member.is_busy() && !queue_.empty()) member.depth = (std::min)(2 * member.depth, CrewMember::most_depth);
}

/// A task wrote to the channel, or over the worker's memory: nothing that it says counts any more.
inline void Engine::misbehaves(CrewMember& member) {
    if (member.ending == CrewMember::Ending::misbehaved) return;
    member.is_distrusted = true;
    crew_.end_member(member, CrewMember::Ending::misbehaved);
    be_awake_at(member.kill_at);
}

inline bool Engine::is_first(const Reply& reply) noexcept {
    return reply.kind == Reply::Kind::ready || reply.kind == Reply::Kind::initializer_failed;
}
inline bool Engine::is_result_of(const Reply& reply, std::uint64_t task) noexcept {
    return (reply.kind == Reply::Kind::value || reply.kind == Reply::Kind::exception) &&
           reply.task == static_cast<std::uint16_t>(task);
}

/// Who sleeps from now on until a worker has news; `nobody` where somebody looks without being told.
inline void Engine::set_listener(Slot::Listener listener) noexcept {
    listener_ = listener;
    for (const CrewMember& member : crew_.members())
        if (member.is_heard()) member.slot().listener.store(listener, std::memory_order_seq_cst);
}
inline bool Engine::has_news(CrewMember& member) noexcept {
    return member.is_heard() &&
           (member.replies.available() != 0 || (!member.output.empty() && member.requests.room() != 0));
}
inline bool Engine::some_have_news() noexcept {
    return std::any_of(crew_.members().begin(), crew_.members().end(), has_news);
}

inline void Engine::settle(Harvest& harvest) noexcept {
    harvest.settle();
    // seq_cst here and where the pool is closed: one of the two sees the other.
    if (settling_.fetch_sub(1, std::memory_order_seq_cst) == 1 && closed_.load(std::memory_order_seq_cst))
        waker_.wake();
}

inline void Engine::withdraw(ItemSink& sink, bool what_runs_too) {
    if (fork_mark_.is_copy()) return;
    Harvest harvest;
    {
        const std::scoped_lock lock{mutex_};
        settling_.fetch_add(1, std::memory_order_relaxed);
        const auto is_its = [&](const Batch& batch) { return batch.call->sink.operator->() == &sink; };
        try {
            for (CrewMember& member : crew_.members()) {
                if (std::none_of(member.batches.begin(), member.batches.end(), is_its)) continue;
                if (member.ending != CrewMember::Ending::no) continue;
                collect(member, harvest);
                recall(member);
                if (!what_runs_too || !member.is_busy() || !is_its(member.batches.back())) continue;
                crew_.end_member(member, CrewMember::Ending::cancelled);
                be_awake_at(member.kill_at);
            }
            for (Batch& batch : queue_)
                if (is_its(batch)) harvest.drop(batch.call);
            std::erase_if(queue_, is_its);
            dispatch(harvest);
        } catch (...) {
            leave_to_background(std::current_exception());
        }
        harvest.drop_all(done_with_);
    }
    settle(harvest);
}

inline Engine::Attendance::Role Engine::begin_attendance() {
    if (fork_mark_.is_copy()) return Attendance::Role::of_another;
    const std::scoped_lock lock{mutex_};
    if (attendant_ == std::this_thread::get_id()) return Attendance::Role::had_already;
    if (attendant_ != std::thread::id{}) return Attendance::Role::of_another;
    attendant_ = std::this_thread::get_id();
    set_listener(Slot::nobody);
    return Attendance::Role::begun;
}

inline void Engine::end_attendance() noexcept {
    const std::scoped_lock lock{mutex_};
    attendant_ = std::thread::id{};
    attendant_sleeps_.store(false, std::memory_order_relaxed);
    graveyard_.clear();
    leave_replies_to_background();
}
inline void Engine::leave_replies_to_background() noexcept {
    set_listener(Slot::background);
    plait::detail::sync_point();
    if (some_have_news()) waker_.wake();
}
/// Out of memory here in the engine, or an initializer that failed: it tells everybody, and the pool is over.
inline void Engine::leave_to_background(std::exception_ptr error) noexcept {
    if (!background_error_) background_error_ = std::move(error);
    waker_.wake();
}

/// False where there were none.
inline bool Engine::take_replies() {
    Harvest harvest;
    bool is_long = false;  // to tell: others do not wait for that
    {
        const std::scoped_lock lock{mutex_};
        settling_.fetch_add(1, std::memory_order_relaxed);
        graveyard_.clear();
        watched_.clear();
        if (listener_ != Slot::nobody) set_listener(Slot::nobody);  // the background had taken over
        try {
            collect_all(harvest);
            dispatch(harvest);
        } catch (...) {
            leave_to_background(std::current_exception());
        }
        for (const CrewMember& member : crew_.members())
            if (member.is_heard()) watched_.push_back({&member.slot().replies.written, member.replies.taken()});
        may_spin_ = watched_.size() < processors_;
        harvest.drop_all(done_with_);
        is_long = harvest.size() > 64 * 1024;
        if (is_long) leave_replies_to_background();
    }
    const bool some = !harvest.empty();
    settle(harvest);
    if (is_long) {
        const std::scoped_lock lock{mutex_};
        set_listener(Slot::nobody);
    }
    return some;
}

/// The attendant sleeps from now on; false where there is something to take.
inline bool Engine::lie_down() noexcept {
    const std::scoped_lock lock{mutex_};
    set_listener(Slot::attendant);
    plait::detail::sync_point();
    const bool sleeps = !some_have_news();
    if (!sleeps) set_listener(Slot::nobody);
    // Before it announces itself to what it waits for: who sees the announcement sees this.
    attendant_sleeps_.store(sleeps, std::memory_order_seq_cst);
    return sleeps;
}
inline void Engine::get_up() noexcept {
    const std::scoped_lock lock{mutex_};
    attendant_sleeps_.store(false, std::memory_order_relaxed);
    crew_.bell().clear();
    set_listener(Slot::nobody);
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

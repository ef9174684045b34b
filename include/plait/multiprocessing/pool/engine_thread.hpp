// SPDX-License-Identifier: MIT
#pragma once

#include <plait/multiprocessing/pool/engine.hpp>
#include <plait/multiprocessing/remote_exception.hpp>

#include <cstdio>
#include <cstring>

// What the engine does, in the order in which a task meets it.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

inline void Engine::submit(std::vector<Batch> batches) {
    {
        const std::scoped_lock lock{mutex_};
        if (broken_) std::rethrow_exception(broken_);
        if (closed_ || terminated_)
            throw UsageError("the pool takes no more work after close() or terminate(): make a new Pool");
        for (Batch& batch : batches) {
            batch.call->submitted = true;
            batch.first_task = next_task_;
            next_task_ += batch.count;
            submitted_.push_back(std::move(batch));
        }
    }
    waker_.wake();
}

inline void Engine::cancel(ItemSink& sink) {
    {
        const std::scoped_lock lock{mutex_};
        cancelled_.emplace_back(sink);
    }
    waker_.wake();
}

inline bool Engine::join(Timeout timeout) {
    {
        const std::scoped_lock lock{mutex_};
        if (!closed_ && !terminated_)
            throw UsageError("Pool::join: the pool still takes work; call close() or terminate() first");
    }
    const plait::detail::Deadline deadline{timeout};
    const auto running = [this] { return !ended_.load(std::memory_order_acquire); };
    while (running())
        if (plait::detail::parking::sleep(&ended_, deadline, running) == plait::detail::parking::Result::timed_out)
            return false;
    if (!callbacks_.is_this_thread()) end_threads();  // a callback's own thread may be what another caller waits for
    return true;
}

inline void Engine::run() {
    for (;;) {
        try {
            take_requests();
            if (terminating_ || (closing_ && all_settled())) break;
            if (!is_broken_) dispatch();
            publish();
            wait();
            if (!is_broken_)
                for (CrewMember& member : crew_.members()) look_after(member);
        } catch (...) {
            // Out of memory or of descriptors, here in the engine: everybody is told, and the pool is over.
            break_with(std::current_exception());
        }
    }
    if (terminating_)
        fail_everything(std::make_exception_ptr(PoolTerminatedError("the pool was terminated before this task began")));
    else if (!is_broken_)
        retire_all();
    crew_.end();
    for (CrewMember& member : crew_.members()) member.state = CrewMember::State::absent;
    publish();
    // Release pairs with the acquire in join.
    ended_.store(true, std::memory_order_release);
    plait::detail::parking::wake_all(&ended_);
}

inline void Engine::take_requests() {
    std::vector<Batch> submitted;
    std::vector<SinkPointer> cancelled;
    {
        // The flags are read with the queue: who sees a closed pool has seen all that was ever submitted.
        const std::scoped_lock lock{mutex_};
        submitted.swap(submitted_);
        cancelled.swap(cancelled_);
        closing_ = closed_;
        terminating_ = terminated_;
    }
    for (Batch& batch : submitted) queue_.push_back(std::move(batch));
    for (const SinkPointer& sink : cancelled) {
        std::erase_if(queue_, [&](const Batch& batch) { return batch.call->sink == sink; });
        for (CrewMember& member : crew_.members())
            if (member.batch && member.batch->call->sink == sink && member.ending == CrewMember::Ending::no)
                crew_.end_member(member, CrewMember::Ending::cancelled);
    }
    if (is_broken_ && !queue_.empty()) fail_everything(broken_);  // written by this thread alone
}

inline void Engine::dispatch() {
    for (CrewMember& member : crew_.members()) {
        if (member.state == CrewMember::State::absent && member.retry_at.has_passed()) crew_.replace(member);
        while (member.takes_work() && !member.batch && !queue_.empty()) {
            Batch batch = std::move(queue_.front());
            queue_.pop_front();
            if (!batch.call->sink->begin()) continue;  // cancelled while it waited
            const std::uint64_t most = crew_.options().max_tasks_per_child
                                           ? *crew_.options().max_tasks_per_child - member.tasks_done
                                           : batch.left();
            if (batch.left() > most) queue_.push_front(batch.split_after(static_cast<std::size_t>(most)));
            give(member, std::move(batch));
        }
    }
}

inline void Engine::give(CrewMember& member, Batch batch) {
    Encoder message;
    message.write(batch.call->callable);
    message.write_bytes(std::span{batch.arguments}.subspan(batch.begin_of(batch.next)));
    const Frame frame{.kind = Frame::Kind::tasks,
                      .count = static_cast<std::uint32_t>(batch.left()),
                      .task = batch.task(),
                      .size = message.size()};
    const auto head = bytes_of(frame);
    member.output.insert(member.output.end(), head.begin(), head.end());
    member.output.insert(member.output.end(), message.bytes().begin(), message.bytes().end());
    member.batch = std::move(batch);
    member.state = CrewMember::State::busy;
    write_output(member);
}

inline void Engine::write_output(CrewMember& member) {
    while (member.written < member.output.size()) {
        const os::Transfer sent = os::send_some(member.channel, std::span{member.output}.subspan(member.written));
        if (sent.count == 0) return;  // full, or the worker is gone, which its death will tell
        member.written += sent.count;
    }
    member.output.clear();
    member.written = 0;
}

inline plait::detail::Deadline Engine::next_deadline() const {
    using plait::detail::Deadline;
    Deadline next = Deadline::never();
    const auto include = [&](Deadline deadline) {
        if (deadline < next) next = deadline;
    };
    for (const CrewMember& member : crew_.members()) {
        if (member.state == CrewMember::State::absent) include(member.retry_at);
        if (member.ending != CrewMember::Ending::no) include(member.kill_at);
        if (member.ending == CrewMember::Ending::no && member.channel_ended) include(member.suspect_at);
        if (member.batch && member.ending == CrewMember::Ending::no) include(member.time_limit());
    }
    return next;
}

inline void Engine::wait() {
    poll_items_.clear();
    poll_items_.emplace_back(waker_.handle(), os::readable);
    if (!is_broken_) {
        poll_items_.emplace_back(crew_.control(), os::readable);
        for (const CrewMember& member : crew_.members()) {
            const bool open = member.channel && !member.channel_ended;
            const short wanted = member.output.empty() ? os::readable : static_cast<short>(os::readable | os::writable);
            poll_items_.emplace_back(open ? member.channel.get() : os::Handle::none, wanted);
        }
    }
    static_cast<void>(os::poll(poll_items_, is_broken_ ? plait::detail::Deadline::never() : next_deadline()));
    if (poll_items_[0].is_ready()) waker_.clear();
    if (is_broken_) return;
    for (std::size_t i = 0; i < crew_.members().size(); ++i) {
        CrewMember& member = crew_.members()[i];
        if (poll_items_[i + 2].is_writable()) write_output(member);
        if (poll_items_[i + 2].is_readable()) read_results(member);
    }
    if (poll_items_[1].is_ready() && !crew_.read_reports()) settle_end_of_maker();
}

inline void Engine::settle_end_of_maker() {
    const bool is_replaced = ++makers_lost_ < 5 && crew_.replace_maker();
    for (CrewMember& member : crew_.members())
        if (member.death) settle_death(member);
    if (is_replaced) return;
    throw BrokenPoolError(
        makers_lost_ < 5 ? "the process that makes this pool's workers was killed, and with StartMethod::fork there is "
                           "no other copy of the program as it was: make a new Pool"
                         : "the process that makes this pool's workers ends again and again before one can work");
}

inline void Engine::look_after(CrewMember& member) {
    if (member.death) settle_death(member);
    if (member.state == CrewMember::State::absent) return;
    if (member.ending != CrewMember::Ending::no) {
        if (member.kill_at.has_passed()) {
            crew_.kill(member, os::certain_end);
            member.kill_at = plait::detail::Deadline{std::chrono::seconds{1}};
        }
    } else if (member.channel_ended && member.suspect_at.has_passed()) {
        // It closed its end and lives on: nothing more can come of it.
        crew_.end_member(member, CrewMember::Ending::misbehaved);
    } else if (member.batch && member.time_limit().has_passed()) {
        read_outbox(member);  // those that it has done with are not the one that takes so long
        if (member.batch && member.time_limit().has_passed() && member.slot->mark.stop_at(member.batch->task())) {
            member.ended_task = member.batch->task();
            crew_.end_member(member, CrewMember::Ending::timeout);
        }
    }
}

inline void Engine::read_results(CrewMember& member) {
    constexpr std::size_t part = 64 * 1024;
    // As much as there is, but not for ever: others wait.
    for (int parts = 0; parts < 64; ++parts) {
        const std::size_t used = member.input.size();
        member.input.resize(used + part);
        const os::Transfer received = os::receive_some(member.channel, std::span{member.input}.subspan(used));
        member.input.resize(used + received.count);
        // What the outbox has given us already is passed over.
        const auto known = (std::min)(std::size_t{member.stream_read - member.channel_read}, received.count);
        const auto begin = member.input.begin() + static_cast<std::ptrdiff_t>(used);
        member.input.erase(begin, begin + static_cast<std::ptrdiff_t>(known));
        member.channel_read += static_cast<std::uint32_t>(received.count);
        member.stream_read += static_cast<std::uint32_t>(received.count - known);
        if (received.closed) {
            // Most likely it died, and the maker is about to say of what.
            member.channel_ended = true;
            member.suspect_at = plait::detail::Deadline{std::chrono::milliseconds{500}};
        }
        if (received.count < part) break;
    }
    accept_all(member);
}

inline void Engine::read_outbox(CrewMember& member) {
    const std::size_t count = member.slot->outbox.read_from(member.stream_read, member.input);
    member.stream_read += static_cast<std::uint32_t>(count);
    accept_all(member);
}

inline void Engine::accept_all(CrewMember& member) {
    std::size_t read = 0;
    while (member.input.size() - read >= sizeof(Frame) && member.ending != CrewMember::Ending::misbehaved) {
        Frame frame;
        std::memcpy(&frame, member.input.data() + read, sizeof frame);
        // Looked at before the rest of it is waited for, which may never come.
        if (!is_expected(member, frame)) {
            // A task wrote to the channel, or over the worker's memory: nothing that it says counts any more.
            crew_.end_member(member, CrewMember::Ending::misbehaved);
            break;
        }
        if (frame.size > member.input.size() - read - sizeof frame) break;
        accept(member, frame, Decoder(std::span{member.input}.subspan(read + sizeof frame, frame.size)));
        read += sizeof frame + frame.size;
    }
    if (member.ending == CrewMember::Ending::misbehaved) read = member.input.size();
    member.input.erase(member.input.begin(), member.input.begin() + static_cast<std::ptrdiff_t>(read));
}

inline bool Engine::is_expected(const CrewMember& member, const Frame& frame) noexcept {
    switch (frame.kind) {
        case Frame::Kind::ready:
        case Frame::Kind::initializer_failed:
            return member.state == CrewMember::State::starting;
        case Frame::Kind::value:
        case Frame::Kind::exception:
            return member.batch && frame.task == member.batch->task() &&
                   member.slot->mark.begun_of(frame.task, member.batch->left()) > 0;
        default:
            return false;
    }
}

inline void Engine::accept(CrewMember& member, const Frame& frame, Decoder payload) {
    if (frame.kind == Frame::Kind::ready) {
        member.state = CrewMember::State::idle;
        deaths_at_start_ = 0;
        makers_lost_ = 0;
        return;
    }
    if (frame.kind == Frame::Kind::initializer_failed)
        throw BrokenPoolError("the pool's initializer failed: " + plait::detail::describe(read_exception(payload)));

    Batch& batch = *member.batch;
    if (frame.kind == Frame::Kind::value) {
        batch.call->sink->succeed(batch.item(), payload);
    } else {
        std::exception_ptr exception;
        try {
            exception = read_exception(payload);
        } catch (...) {
            exception = std::current_exception();
        }
        batch.call->sink->fail(batch.item(), exception);
    }
    ++batch.next;
    ++member.tasks_done;
    if (batch.left() > 0) return;
    member.batch.reset();
    member.state = CrewMember::State::idle;
    if (crew_.options().max_tasks_per_child && member.tasks_done >= *crew_.options().max_tasks_per_child) {
        member.ending = CrewMember::Ending::retired;
        member.channel.reset();  // its sign to go; it has time to
        member.kill_at = plait::detail::Deadline{std::chrono::seconds{5}};
    }
}

inline void Engine::settle_death(CrewMember& member) {
    if (member.channel && !member.channel_ended) read_results(member);
    read_outbox(member);  // what it had not written yet
    // Replaced and published first: who is told of the death, and looks at the workers, sees living ones.
    CrewMember dead = std::exchange(member, CrewMember{*member.slot});
    // The one that it was at; more where it misbehaved, and the results of those before are not to be trusted.
    std::uint64_t begun = dead.batch ? dead.slot->mark.begun_of(dead.batch->task(), dead.batch->left()) : 0;
    crew_.replace(member);
    publish();

    if (dead.batch && dead.ending != CrewMember::Ending::cancelled) {
        Batch batch = std::move(*dead.batch);
        for (; begun > 0; --begun, ++batch.next) batch.call->sink->fail(batch.item(), describe_death(dead, batch));
        if (batch.left() > 0) queue_.push_front(std::move(batch));
    }
    if (dead.state == CrewMember::State::starting && dead.ending == CrewMember::Ending::no && ++deaths_at_start_ >= 5)
        throw BrokenPoolError("the pool's workers die again and again before they can work; the last one " +
                              describe_end(dead.death->code));
}

inline std::exception_ptr describe_death(const CrewMember& member, const Batch& batch) {
    const Report& death = *member.death;
    const std::string worker = "worker " + std::to_string(member.pid);
    const std::string task = "task " + std::to_string(batch.task()) + ", " + std::string(batch.call->name);
    if (member.ending == CrewMember::Ending::timeout && member.ended_task == batch.task()) {
        char limit[32];
        std::snprintf(limit, sizeof limit, "%g s",
                      std::chrono::duration<double>(batch.call->timeout.duration()).count());
        return std::make_exception_ptr(
            TaskTimeoutError(task + ", ran longer than its limit of " + limit + "; " + worker + " was killed with it",
                             member.pid, batch.task()));
    }
    std::string text = worker + " " + describe_end(death.code) + " while it ran " + task;
    if (member.ending == CrewMember::Ending::misbehaved)
        text += "; it had closed its channel to the pool, or written to it";
    else if (member.ending == CrewMember::Ending::orphaned)
        text += "; the process that made it had been killed";
    else if (member.ending == CrewMember::Ending::terminated)
        text += "; the pool was terminated";
    else if (death.code == -os::certain_end)
        text += "; plait did not send that: perhaps the kernel was out of memory, the worker had used up to " +
                std::to_string(death.memory >> 20) + " MiB";
    return std::make_exception_ptr(ProcessDied(text, member.pid, death.code));
}

inline void Engine::fail_everything(const std::exception_ptr& exception) {
    const auto fail = [&](Batch& batch) {
        for (; batch.left() > 0; ++batch.next) batch.call->sink->fail(batch.item(), exception);
    };
    for (CrewMember& member : crew_.members()) {
        if (!member.batch) continue;
        member.slot->mark.stop();
        try {
            if (member.channel && !member.channel_ended) read_results(member);
            read_outbox(member);
        } catch (...) {
            // What cannot be read any more is as good as not done.
        }
        if (member.batch && terminating_ &&
            member.slot->mark.begun_of(member.batch->task(), member.batch->left()) > 0) {
            if (member.ending == CrewMember::Ending::no) member.ending = CrewMember::Ending::terminated;
            member.death = Report{.kind = Report::Kind::died, .pid = member.pid, .code = -os::certain_end};
            member.batch->call->sink->fail(member.batch->item(), describe_death(member, *member.batch));
            ++member.batch->next;
        }
        if (member.batch) fail(*member.batch);
        member.batch.reset();
    }
    for (Batch& batch : queue_) fail(batch);
    queue_.clear();
}

inline void Engine::break_with(std::exception_ptr cause) {
    if (is_broken_) return;
    is_broken_ = true;
    {
        const std::scoped_lock lock{mutex_};
        broken_ = cause;
    }
    plait::detail::parking::wake_all(&infos_);
    crew_.end();
    for (CrewMember& member : crew_.members()) member.state = CrewMember::State::absent;
    publish();
    fail_everything(cause);
}

inline void Engine::retire_all() {
    const plait::detail::Deadline patience{std::chrono::seconds{5}};
    for (CrewMember& member : crew_.members()) {
        member.channel.reset();
        if (member.state == CrewMember::State::absent) member.death = Report{};
    }
    const auto all_gone = [&] {
        return std::all_of(crew_.members().begin(), crew_.members().end(),
                           [](const CrewMember& member) { return member.death.has_value(); });
    };
    while (!all_gone()) {
        os::PollItem item{crew_.control(), os::readable};
        if (!os::poll({&item, 1}, patience) || !crew_.read_reports()) return;
    }
}

inline bool Engine::all_settled() const {
    return queue_.empty() && std::all_of(crew_.members().begin(), crew_.members().end(),
                                         [](const CrewMember& member) { return !member.batch; });
}

inline void Engine::publish() {
    {
        const std::scoped_lock lock{mutex_};
        infos_.clear();
        for (const CrewMember& member : crew_.members())
            if (member.pid != 0 && member.state != CrewMember::State::absent) infos_.push_back(member.info());
    }
    if (std::exchange(published_, infos_.size()) != infos_.size()) plait::detail::parking::wake_all(&infos_);
}

inline std::vector<WorkerInfo> Engine::workers() {
    const auto some_are_being_made = [this] {
        const std::scoped_lock lock{mutex_};
        return infos_.size() < processes() && !broken_ && !closed_ && !terminated_;
    };
    const plait::detail::Deadline patience{std::chrono::seconds{1}};
    while (some_are_being_made())
        if (plait::detail::parking::sleep(&infos_, patience, some_are_being_made) ==
            plait::detail::parking::Result::timed_out)
            break;
    const std::scoped_lock lock{mutex_};
    return infos_;
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

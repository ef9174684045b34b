// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/spin.hpp>
#include <plait/multiprocessing/pool/call.hpp>
#include <plait/multiprocessing/pool/initializer.hpp>
#include <plait/multiprocessing/pool/protocol.hpp>
#include <plait/multiprocessing/process/this_process.hpp>
#include <plait/multiprocessing/remote_call.hpp>
#include <plait/multiprocessing/remote_exception.hpp>
#include <plait/os/channel.hpp>
#include <plait/os/fork_mark.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <utility>
#include <vector>

// The life of a worker: it runs the initializer, then the tasks of its requests, until it is told to leave or the channel
// ends.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

class Worker {
public:
    /// `bell` wakes the thread of the program that waits for replies.
    Worker(const os::Handle& channel, const os::Handle& bell, Slot& slot) noexcept
        : channel_{channel}, bell_{bell}, slot_{slot}, requests_{slot.requests}, replies_{slot.replies} {}

    /// Returns the exit code. `initializer` is null for none.
    int serve(ChildPapers papers, std::shared_ptr<const PackedCall> initializer) {
        this_process().become(std::move(papers), channel_.get());
        // A signal sent to the terminal's group reaches the program, which decides; a task's children die with its group.
        os::lead_process_group();
        os::take_no_notice_of_interrupt();
        os::end_when_asked();
        os::open_missing_standard_streams();
        os::read_nothing_from_standard_input();
        if (initializer != nullptr && !initialize(*initializer)) return 1;
        initializer.reset();  // what it kept open for itself has no use any more
        if (!reply({.kind = Reply::Kind::ready}, {})) return 0;
        while (serve_request()) {
        }
        os::flush_standard_streams();
        return 0;
    }

private:
    bool initialize(const PackedCall& call) {
        try {
            Decoder in(call.bytes);
            in.carry(call.handles);
            const auto callable = in.read<CallableName>();
            call_by_name(callable, in, result_);
            return true;
        } catch (...) {
            if (reply_with({.kind = Reply::Kind::initializer_failed}, std::current_exception())) tell_program();
            return false;
        }
    }

    /// False at the end of this worker's life.
    bool serve_request() {
        Request request;
        if (!read(writable_bytes_of(request))) return false;
        if (request.kind == Request::Kind::tasks) slot_.reading.store(request.task + 1, std::memory_order_relaxed);
        payload_.resize(static_cast<std::size_t>(request.size));
        if (!read(payload_)) return false;
        give_room_back();
        switch (request.kind) {
            case Request::Kind::callable:
                find_callable();
                return true;
            case Request::Kind::tasks:
                return run_tasks(request);
            case Request::Kind::resume:
                recalls_ = Mark::after(recalls_);
                return true;
            case Request::Kind::leave:
                break;
        }
        return false;
    }

    void find_callable() {
        entry_ = nullptr;
        try {
            Decoder in(payload_);
            callable_ = in.read<CallableName>();
            entry_ = &find_entry(callable_);
        } catch (...) {
            no_callable_ = std::current_exception();  // each of its tasks says so
        }
    }

    /// False where the program wants no more of this worker, or is gone.
    bool run_tasks(const Request& request) {
        Decoder in(payload_);
        for (std::uint64_t i = 0; i < request.count; ++i) {
            Decoder arguments(read_item(in));
            plait::detail::sync_point();
            switch (slot_.mark.begin(request.task + i, i == 0, recalls_, (request.flags & Request::timed) != 0)) {
                case Mark::Begin::begun:
                    break;
                case Mark::Begin::recalled:
                    return true;
                case Mark::Begin::stopped:
                    return false;  // the program is about to end this worker
            }
            plait::detail::sync_point();
            if (!run_task(request.task + i, arguments)) return false;
            if ((request.flags & Request::told_singly) != 0) tell_program();
        }
        if ((request.flags & Request::told_later) == 0) tell_program();
        return true;
    }

    bool run_task(std::uint64_t task, Decoder& arguments) {
        result_.clear();
        std::exception_ptr exception;
        try {
            if (entry_ == nullptr) std::rethrow_exception(no_callable_);
            entry_->call(callable_.state, arguments, result_);
        } catch (...) {
            exception = std::current_exception();
        }
        // A task that forked: its copy came back here too, and has nothing to say.
        if (fork_mark_.is_copy()) os::exit_immediately(0);
        os::flush_standard_streams();  // what a task printed is there when its result is
        const auto number = static_cast<std::uint16_t>(task);
        if (exception != nullptr) return reply_with({Reply::Kind::exception, number}, exception);
        return reply({Reply::Kind::value, number}, result_.bytes());
    }

    bool reply_with(Reply head, const std::exception_ptr& exception) {
        result_.clear();
        write_exception(result_, exception);
        return reply(head, result_.bytes());
    }
    /// False where the program is gone.
    bool reply(Reply head, std::span<const std::byte> payload) {
        head.size = payload.size();
        const std::uint64_t word = head.packed();
        const std::size_t size = sizeof word + payload.size();
        plait::detail::sync_point();
        if (replies_.takes(size)) {
            replies_.put(bytes_of(word));
            replies_.put(payload);
            replies_.publish();
            plait::detail::sync_point();
            since_told_ += size;
            // Half of it full: the program had better begin to take it out.
            if (since_told_ > decltype(Slot::replies)::capacity / 2) tell_program();
            return true;
        }
        return write(bytes_of(word)) && write(payload);
    }
    /// Piece by piece, as the program makes room.
    bool write(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const std::size_t room = replies_.room();
            if (room == 0) {
                if (!sleep(Slot::for_room)) return false;
                continue;
            }
            const auto part = bytes.first((std::min)(room, bytes.size()));
            replies_.put(part);
            replies_.publish();
            bytes = bytes.subspan(part.size());
        }
        return true;
    }

    /// All of `out` from the requests. False where the program is gone.
    bool read(std::span<std::byte> out) {
        while (!out.empty()) {
            const std::uint64_t available = requests_.available();
            if (available > decltype(Slot::requests)::capacity) return false;  // a task wrote over it
            if (available == 0) {
                give_room_back();
                if (!sleep(Slot::for_requests)) return false;
                continue;
            }
            const auto part = out.first((std::min)(static_cast<std::size_t>(available), out.size()));
            requests_.take(part);
            out = out.subspan(part.size());
        }
        return true;
    }
    void give_room_back() noexcept {
        plait::detail::sync_point();
        requests_.free();
        if (slot_.output_waits.load(std::memory_order_seq_cst) != 0) tell_program();
    }

    /// Until there may be what it waits for. False where the program is gone.
    bool sleep(Slot::Waits what) {
        tell_program();
        const auto is_there = [&] {
            return what == Slot::for_requests ? requests_.available() != 0 : replies_.room() != 0;
        };
        if (slot_.may_spin.load(std::memory_order_relaxed) != 0 && plait::detail::spin_for(spin_time, is_there))
            return true;
        slot_.worker_waits.store(what, std::memory_order_seq_cst);
        plait::detail::sync_point();
        bool goes_on = true;
        if (!is_there()) {
            std::array<std::byte, 64> bytes;
            os::wait_readable(channel_.get(), plait::detail::Deadline::never());
            goes_on = !os::receive_some(channel_, bytes).closed;
        }
        slot_.worker_waits.store(Slot::for_nothing, std::memory_order_relaxed);
        return goes_on;
    }
    /// Wakes who sleeps until there are replies.
    void tell_program() noexcept {
        since_told_ = 0;
        replies_.publish_and_look();
        plait::detail::sync_point();
        if (slot_.listener.load(std::memory_order_seq_cst) == Slot::nobody) return;
        const std::uint32_t listener = slot_.listener.exchange(Slot::nobody, std::memory_order_seq_cst);
        if (listener == Slot::attendant) {
            os::Waker::wake(bell_);
        } else if (listener == Slot::background) {
            try {
                const std::byte look{};
                static_cast<void>(os::send_some(channel_, {&look, 1}));
            } catch (...) {
                // A task closed the channel: the program sees its end.
            }
        }
    }

    const os::Handle& channel_;
    const os::Handle& bell_;
    Slot& slot_;
    RingReader<decltype(Slot::requests)> requests_;
    RingWriter<decltype(Slot::replies)> replies_;
    std::uint64_t recalls_ = 0;   // those that it has come to
    std::size_t since_told_ = 0;  // how many bytes of replies the program may not know of
    const os::ForkMark fork_mark_;
    CallableName callable_;
    const EntryRecord* entry_ = nullptr;
    std::exception_ptr no_callable_;
    std::vector<std::byte> payload_;
    Encoder result_;
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

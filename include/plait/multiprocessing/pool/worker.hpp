// SPDX-License-Identifier: MIT
#pragma once

#include <plait/multiprocessing/pool/initializer.hpp>
#include <plait/multiprocessing/pool/protocol.hpp>
#include <plait/multiprocessing/process/this_process.hpp>
#include <plait/multiprocessing/remote_call.hpp>
#include <plait/multiprocessing/remote_exception.hpp>
#include <plait/os/channel.hpp>
#include <plait/os/process.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <utility>
#include <vector>

// The life of a worker: it runs the initializer, then tasks from its channel until that ends.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

class Worker {
public:
    Worker(const os::Handle& channel, Slot& slot) noexcept
        : channel_{channel}, mark_{slot.mark}, outbox_{slot.outbox} {}

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
        if (!send(Frame{.kind = Frame::Kind::ready}) || !write_out()) return 0;

        Frame frame;
        std::vector<std::byte> payload;
        // The end of the channel: the pool is closed, or gone.
        while (os::receive_all(channel_, writable_bytes_of(frame))) {
            payload.resize(frame.size);
            if (!os::receive_all(channel_, payload) || !run_tasks(frame, payload)) break;
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
            static_cast<void>(
                send_exception(Frame{.kind = Frame::Kind::initializer_failed}, std::current_exception()) &&
                write_out());
            return false;
        }
    }

    /// False where the program is gone, or wants no more of this worker.
    bool run_tasks(const Frame& frame, std::span<const std::byte> payload) {
        Decoder in(payload);
        const auto callable = in.read<CallableName>();
        for (std::uint32_t i = 0; i < frame.count; ++i) {
            Decoder arguments(in.read_bytes(in.read<std::uint64_t>()));
            if (!run_task(callable, frame.task + i, arguments)) return false;
        }
        return write_out();
    }

    bool run_task(const CallableName& callable, std::uint64_t task, Decoder& arguments) {
        if (!mark_.begin(task)) return false;  // the program is about to end this worker
        Frame frame{.kind = Frame::Kind::value, .task = task};
        result_.clear();
        std::exception_ptr exception;
        try {
            call_by_name(callable, arguments, result_);
        } catch (...) {
            exception = std::current_exception();
        }
        // A task that forked: its copy came back here too, and has nothing to say.
        if (os::process_id() != pid_) os::exit_immediately(0);
        os::flush_standard_streams();  // what a task printed is there when its result is
        if (exception != nullptr) {
            frame.kind = Frame::Kind::exception;
            return send_exception(frame, exception);
        }
        return send(frame, result_.bytes());
    }

    bool send_exception(Frame frame, const std::exception_ptr& exception) {
        result_.clear();
        write_exception(result_, exception);
        return send(frame, result_.bytes());
    }
    /// Into the outbox if it fits, else behind what is there into the channel. False where the program is gone.
    bool send(Frame frame, std::span<const std::byte> payload = {}) {
        frame.size = payload.size();
        if (outbox_.add(bytes_of(frame), payload)) return true;
        if (!write_out()) return false;
        if (outbox_.add(bytes_of(frame), payload)) return true;
        if (!os::send_all(channel_, bytes_of(frame)) || !os::send_all(channel_, payload)) return false;
        outbox_.written(sizeof frame + payload.size());
        return true;
    }
    bool write_out() {
        if (!os::send_all(channel_, outbox_.content())) return false;
        outbox_.written(0);
        return true;
    }

    const os::Handle& channel_;
    Mark& mark_;
    Outbox& outbox_;
    const std::int64_t pid_ = os::process_id();
    Encoder result_;
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

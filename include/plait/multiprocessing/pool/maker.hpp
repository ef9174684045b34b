// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/pool/initializer.hpp>
#include <plait/multiprocessing/pool/protocol.hpp>
#include <plait/multiprocessing/pool/worker.hpp>
#include <plait/multiprocessing/process/this_process.hpp>
#include <plait/os/channel.hpp>
#include <plait/os/child.hpp>
#include <plait/os/lifeline.hpp>
#include <plait/os/memory.hpp>
#include <plait/os/process.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

// The maker of a pool's workers: a process with a single thread that starts them, reaps them, signals them, and sees to
// it that they go with the program.
//
// It was made when the pool was, from a fresh start of the executable or as a copy of the program, so the last worker
// starts from the same state as the first, whatever threads the program has by then. It is the workers' parent: a
// number that it signals is its own unreaped child's and nobody else's, and the program needs no SIGCHLD.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

int run_fresh_worker(ChildContext& context);

/// An initializer on its way to a fresh start: its bytes behind what `payload` has, its handles behind `handles`.
inline void write_initializer(Encoder& payload, std::vector<os::NativeHandle>& handles, const PackedCall* initializer) {
    payload.write(initializer != nullptr);
    if (initializer == nullptr) return;
    payload.write(initializer->bytes);
    const auto natives = initializer->handles.natives();
    handles.insert(handles.end(), natives.begin(), natives.end());
}
/// Null for none; its handles are those from `first` on.
inline std::shared_ptr<const PackedCall> read_initializer(Decoder& payload, std::vector<os::Handle>& handles,
                                                          std::size_t first) {
    if (!payload.read<bool>()) return nullptr;
    std::vector<os::Handle> its;
    for (std::size_t i = first; i < handles.size(); ++i) its.push_back(std::move(handles[i]));
    return std::make_shared<const PackedCall>(
        PackedCall{payload.read<std::vector<std::byte>>(), Incoming(std::move(its))});
}

class Maker {
public:
    /// `control` is the channel to the program `program`, `slots` the memory with a Slot for each worker.
    Maker(os::Handle control, os::SharedMapping slots, std::shared_ptr<const PackedCall> initializer, bool spawn,
          std::int64_t program)
        : control_{std::move(control)},
          slots_{std::move(slots)},
          initializer_{std::move(initializer)},
          spawn_{spawn},
          program_{program} {}

    /// Until the program lets go of the channel, or is gone.
    int run() {
        os::lead_process_group();
        os::take_no_notice_of_interrupt();
        // Both, the program's own end and its channel's: a fork of the program may hold the channel open. Where the
        // system does not tell of the one it is asked for now and then.
        watched_program_ = os::watch_process(program_);
        bool serving = true;
        while (serving && os::parent_process_id() == program_) {
            const bool writes = !reports_.empty();
            os::PollItem items[] = {
                {control_.get(), writes ? static_cast<short>(os::readable | os::writable) : os::readable},
                {watched_program_.get(), os::readable}};
            reaper_.wait(items, watched_program_ ? plait::detail::Deadline::never()
                                                 : plait::detail::Deadline{std::chrono::milliseconds{200}});
            while (const auto dead = reap()) report_death(*dead);
            serving = !items[1].is_ready() && (!items[0].is_readable() || obey()) && send_reports();
        }
        end_workers();
        return 0;
    }

private:
    struct Made {
        std::uint64_t number;
        std::int64_t pid;
    };

    /// Takes one order. False where the program is gone.
    bool obey() {
        Order order;
        std::vector<os::Handle> handles;
        if (!os::receive_with_handles(control_, writable_bytes_of(order), handles)) return false;
        if (order.kind == Order::Kind::kill) {
            for (const Made& made : workers_)
                if (made.number == order.worker) os::signal_process_group(made.pid, order.signal);
            return true;
        }
        if (handles.empty()) return false;
        Report report{.worker = order.worker};
        try {
            report.pid = spawn_ ? start_fresh(order, handles.front()) : start_copy(order, handles.front());
            workers_.push_back({order.worker, report.pid});
        } catch (const std::system_error& error) {
            report.kind = Report::Kind::failed;
            report.code = error.code().value();
        }
        add(report);
        return true;
    }

    void add(const Report& report) {
        const auto bytes = bytes_of(report);
        reports_.insert(reports_.end(), bytes.begin(), bytes.end());
    }
    /// Never waits for the program, which may be waiting for the next order to be taken. False where it is gone.
    bool send_reports() {
        const os::Transfer sent = os::send_some(control_, reports_);
        reports_.erase(reports_.begin(), reports_.begin() + static_cast<std::ptrdiff_t>(sent.count));
        return !sent.closed;
    }

    /// What a worker is told of itself. Whose child it is the program says: the maker bears its name.
    [[nodiscard]] ChildPapers papers_of(std::uint64_t worker) const {
        const std::string number = std::to_string(worker);
        return {"PoolWorker-" + number, "w" + number, this_process().papers.name, program_, true};
    }
    std::int64_t start_copy(const Order& order, const os::Handle& channel) {
        const std::int64_t maker = os::process_id();
        return os::fork_process([&] {
            reaper_.undo();
            os::mind_own_children();
            control_.reset();
            watched_program_.reset();
            slots_.drop_handle();
            if (!os::die_with_parent(maker)) return 0;
            return Worker{channel, slot_at(slots_, order.slot)}.serve(papers_of(order.worker), std::move(initializer_));
        });
    }
    std::int64_t start_fresh(const Order& order, const os::Handle& channel) {
        Encoder payload;
        payload.write(order.slot, papers_of(order.worker));
        std::vector<os::NativeHandle> handles{channel.get(), slots_.handle().get()};
        write_initializer(payload, handles, initializer_.get());
        os::SpawnOptions options;
        options.signal_mask = &reaper_.before();
        return start_fresh_child(child_main<&run_fresh_worker>, payload.bytes(), handles, options).process.pid();
    }

    std::optional<os::Reaped> reap() {
        // What a worker left in its process group goes with it.
        return reaper_.reap([](std::int64_t pid) { os::signal_process_group(pid, os::certain_end); });
    }

    void report_death(const os::Reaped& dead) {
        for (std::size_t i = 0; i < workers_.size(); ++i) {
            if (workers_[i].pid != dead.pid) continue;
            const Report report{.kind = Report::Kind::died,
                                .worker = workers_[i].number,
                                .pid = dead.pid,
                                .code = dead.status.code,
                                .memory = dead.most_memory};
            workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(i));
            add(report);
            return;
        }
    }

    void end_workers() {
        for (const Made& made : workers_) os::signal_process_group(made.pid, os::certain_end);
        while (!workers_.empty()) {
            while (const auto dead = reap())
                std::erase_if(workers_, [&](const Made& made) { return made.pid == dead->pid; });
            if (!workers_.empty()) reaper_.wait({}, plait::detail::Deadline::never());
        }
    }

    static Slot& slot_at(const os::SharedMapping& slots, std::uint32_t index) {
        return *reinterpret_cast<Slot*>(slots.data() + index * sizeof(Slot));
    }
    friend int run_fresh_worker(ChildContext& context);

    os::Handle control_;
    os::SharedMapping slots_;
    std::shared_ptr<const PackedCall> initializer_;
    bool spawn_;
    std::int64_t program_;
    os::Handle watched_program_;
    std::vector<std::byte> reports_;  // for the program, to be written
    os::ChildReaper reaper_;
    std::vector<Made> workers_;
};

/// The main of a maker that is a fresh start: its payload is whether its workers are too, the program's name, and the
/// initializer.
inline int run_fresh_maker(ChildContext& context) {
    Decoder in(context.payload);
    const bool spawn = in.read<bool>();
    this_process().papers.name = in.read<std::string>();
    auto slots = os::SharedMapping::open(std::move(context.handles.at(0)));
    auto initializer = read_initializer(in, context.handles, 1);
    return Maker{std::move(context.control), std::move(slots), std::move(initializer), spawn, context.parent}.run();
}

/// The main of a worker that is a fresh start, made by the maker: its payload is its slot, its papers and the initializer.
inline int run_fresh_worker(ChildContext& context) {
    if (!os::die_with_parent(context.parent)) return 0;
    Decoder in(context.payload);
    const auto slot = in.read<std::uint32_t>();
    auto papers = in.read<ChildPapers>();
    const os::Handle channel = std::move(context.handles.at(0));
    auto slots = os::SharedMapping::open(std::move(context.handles.at(1)));
    slots.drop_handle();
    context.control.reset();
    return Worker{channel, Maker::slot_at(slots, slot)}.serve(std::move(papers),
                                                              read_initializer(in, context.handles, 2));
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

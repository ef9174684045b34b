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

#include <algorithm>
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
    /// `control` is the channel to the program `program`; the workers are called `name`, and a number.
    Maker(os::Handle control, std::shared_ptr<const PackedCall> initializer, bool spawn, std::string name,
          std::int64_t program)
        : control_{std::move(control)},
          initializer_{std::move(initializer)},
          name_{std::move(name)},
          spawn_{spawn},
          program_{program} {}

    /// Until the program lets go of the channel, or is gone.
    int run() {
        os::lead_process_group();
        os::take_no_notice_of_interrupt();
        os::end_when_asked();  // a copy of the program has its handlers, which are not for its workers either
        // Both, the program's own end and its channel's: a fork of the program may hold the channel open. Where the
        // system does not tell of the one it is asked for now and then.
        watched_program_ = os::watch_process(program_);
        os::adopt_orphans();
        bool serving = true;
        while (serving && os::parent_process_id() == program_) {
            const bool writes = !reports_.empty();
            os::PollItem items[] = {
                {control_.get(), writes ? static_cast<short>(os::readable | os::writable) : os::readable},
                {watched_program_.get(), os::readable}};
            reaper_.wait(items, watched_program_ ? plait::detail::Deadline::never()
                                                 : plait::detail::Deadline{std::chrono::milliseconds{200}});
            reap_all();
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
            for (const Made& made : workers_) {
                if (made.number != order.worker) continue;
                const auto descendants = os::descendants_of(made.pid);
                condemned_.insert(condemned_.end(), descendants.begin(), descendants.end());
                os::signal_process_group(made.pid, order.signal);
            }
            return true;
        }
        if (handles.size() != 3) return false;
        Report report{.worker = order.worker};
        try {
            report.pid = spawn_ ? start_fresh(order, handles) : start_copy(order, handles);
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
        return {name_ + "-" + number, "w" + number, this_process().papers.name, program_, true};
    }
    // The handles: the worker's end of its channel, its memory, the bell.
    std::int64_t start_copy(const Order& order, std::vector<os::Handle>& handles) {
        const std::int64_t maker = os::process_id();
        return os::fork_process([&] {
            reaper_.undo();
            os::mind_own_children();
            control_.reset();
            watched_program_.reset();
            if (!os::die_with_parent(maker)) return 0;
            return serve(handles, papers_of(order.worker), std::move(initializer_));
        });
    }
    std::int64_t start_fresh(const Order& order, const std::vector<os::Handle>& its_handles) {
        Encoder payload;
        payload.write(papers_of(order.worker));
        std::vector<os::NativeHandle> handles;
        for (const os::Handle& handle : its_handles) handles.push_back(handle.get());
        write_initializer(payload, handles, initializer_.get());
        os::SpawnOptions options;
        options.signal_mask = &reaper_.before();
        return start_fresh_child(child_main<&run_fresh_worker>, payload.bytes(), handles, options).process.pid();
    }
    static int serve(std::vector<os::Handle>& handles, ChildPapers papers,
                     std::shared_ptr<const PackedCall> initializer) {
        const os::Handle channel = std::move(handles.at(0));
        auto memory = os::SharedMapping::open(std::move(handles.at(1)));
        const os::Handle bell = std::move(handles.at(2));
        memory.drop_handle();
        return Worker{channel, bell, *reinterpret_cast<Slot*>(memory.data())}.serve(std::move(papers),
                                                                                    std::move(initializer));
    }

    std::optional<os::Reaped> reap() {
        // What a worker left in its process group goes with it.
        return reaper_.reap([](std::int64_t pid) { os::signal_process_group(pid, os::certain_end); });
    }

    void reap_all() {
        bool some_died = false;
        for (; const auto dead = reap(); some_died = true) report_death(*dead);
        if (!some_died) return;
        if (condemned_.empty()) return;
        // What a worker had started when it was to end, and what had left its process group, is this process's child now,
        // where the system has it so: a number that is nobody else's. Its own children are, once it is dead.
        for (const std::int64_t child : os::children_of_this_thread())
            if (std::find(condemned_.begin(), condemned_.end(), child) != condemned_.end())
                os::signal_process_group(child, os::certain_end);
        std::erase_if(condemned_, [](std::int64_t pid) { return !os::process_exists(pid); });
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
            reap_all();
            if (!workers_.empty()) reaper_.wait({}, plait::detail::Deadline::never());
        }
    }

    friend int run_fresh_worker(ChildContext& context);

    os::Handle control_;
    std::shared_ptr<const PackedCall> initializer_;
    std::string name_;
    bool spawn_;
    std::int64_t program_;
    os::Handle watched_program_;
    std::vector<std::byte> reports_;  // for the program, to be written
    os::ChildReaper reaper_;
    std::vector<Made> workers_;
    std::vector<std::int64_t> condemned_;  // what the workers that are to end had started
};

/// The main of a maker that is a fresh start: its payload is whether its workers are too, the program's name, theirs, and
/// the initializer.
inline int run_fresh_maker(ChildContext& context) {
    Decoder in(context.payload);
    const bool spawn = in.read<bool>();
    this_process().papers.name = in.read<std::string>();
    auto name = in.read<std::string>();
    auto initializer = read_initializer(in, context.handles, 0);
    return Maker{std::move(context.control), std::move(initializer), spawn, std::move(name), context.parent}.run();
}

/// The main of a worker that is a fresh start, made by the maker: its payload is its papers and the initializer.
inline int run_fresh_worker(ChildContext& context) {
    if (!os::die_with_parent(context.parent)) return 0;
    Decoder in(context.payload);
    auto papers = in.read<ChildPapers>();
    auto initializer = read_initializer(in, context.handles, 3);
    context.control.reset();
    return Maker::serve(context.handles, std::move(papers), std::move(initializer));
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/codec/luggage.hpp>
#include <plait/multiprocessing/fork_server/protocol.hpp>
#include <plait/multiprocessing/fork_server/service.hpp>
#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/process/farewell.hpp>
#include <plait/multiprocessing/process/this_process.hpp>
#include <plait/os/channel.hpp>
#include <plait/os/child.hpp>
#include <plait/os/memory.hpp>
#include <plait/os/process.hpp>
#include <plait/os/surroundings.hpp>
#include <plait/os/system_error.hpp>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

// The program's side of its fork server (fork_server/service.hpp is the server's own): one for each program, made at the
// first need, and made anew when it was killed, does not answer, or the program's standing is another by now.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// A child that a server made, and the channel to it.
struct ServedProcess {
    os::Child process;
    os::Handle control;
};

/// Has children made by a process that has a single thread, and nothing of the program's: that is as quick from a large
/// program as from a small one, and no other thread's lock is held in them.
///
/// What they are to have of the program's is taken when they are started, and travels. Starts are served one after the
/// other; who starts waits for the fork alone.
///
/// Threads: any.
class ForkServer {
public:
    /// The one of this process; a forked copy of a program has another.
    static ForkServer& of_this_program();

    /// Whether this program can have one; else `start` throws UsageError.
    static bool can_be() noexcept { return fresh_starts_find_their_way(); }

    /// A child with this thread's surroundings, which runs the call that `write_call` writes.
    /// Throws: UsageError, std::system_error, Error; what `write_call` throws. Nothing is left behind then.
    template <class WriteCall>
    ServedProcess start(ChildPapers papers, std::span<const std::string> environment, WriteCall&& write_call);

    /// Has a daemon that this program made itself killed when the program is gone, stopped or not.
    /// Throws: UsageError, std::system_error, Error where there can be no server.
    void prepare() {
        const std::string status = os::own_status();
        const std::string standing = os::current_standing(status);
        const auto surroundings = os::Surroundings::current(status);
        const std::scoped_lock lock{mutex_};
        use_server(standing, surroundings);
    }
    /// After `prepare`. Where the server was killed meanwhile the daemon is left to see to its own end.
    void guard(const os::Child& daemon);

    /// Lets go of the server, which ends when its children have. Returns whether that was within two seconds.
    ///
    /// Python: multiprocessing.forkserver's _stop. For tests, and for a program that will start no more.
    bool stop() {
        const std::scoped_lock lock{mutex_};
        retire();
        const plait::detail::Deadline deadline{std::chrono::seconds{2}};
        std::erase_if(retired_, [&](os::Child& server) { return server.wait(deadline); });
        return retired_.empty();
    }

    /// The server's number; empty while there is none.
    std::optional<std::int64_t> pid() {
        const std::scoped_lock lock{mutex_};
        return control_ ? std::optional{server_.pid()} : std::nullopt;
    }
    /// How long it may take to answer: after that it is ended, and another one made.
    void set_patience(Timeout patience) {
        const std::scoped_lock lock{mutex_};
        patience_ = patience;
    }

    /// Around a fork: held, what it holds of the server is known; not waited for, as the server may hang.
    [[nodiscard]] std::unique_lock<std::mutex> try_hold() { return std::unique_lock{mutex_, std::try_to_lock}; }
    /// In a forked copy of the program, if it was held: closes what it holds of the server, which is the program's.
    void forget_in_copy() noexcept {
        control_.reset();
        server_ = os::Child{};
        retired_.clear();
    }

private:
    /// What goes along with an order, and what stays here.
    struct Attempt {
        os::ChannelEnds control = os::make_channel();
        os::ChannelEnds news = os::make_channel();
    };

    void use_server(const std::string& standing, const os::Surroundings& surroundings);
    void make_server(const std::string& standing, const os::Surroundings& surroundings);
    /// Nothing where the server is gone or does not answer. Throws: what sending and receiving throw.
    std::optional<ServerReport> ask(ServerOrder order, std::span<const os::NativeHandle> along,
                                    std::vector<os::Handle>& came);
    void retire() noexcept;
    void give_up() noexcept;
    ServedProcess start_with(const std::string& standing, const os::Surroundings& surroundings,
                             const os::SharedMapping& job, const os::Handle& directory,
                             std::span<const os::NativeHandle> luggage, bool daemon);

    std::mutex mutex_;  // guards all below; held while the server is asked
    Timeout patience_ = std::chrono::seconds{10};
    std::string standing_;
    os::Surroundings surroundings_{};  // that the server began with
    std::uint64_t orders_ = 0;
    os::Child server_;
    os::Handle control_;
    std::vector<os::Child> retired_;
};

PLAIT_VISIBLE inline PerProcess<ForkServer>& fork_servers() noexcept {
    static constinit PerProcess<ForkServer> servers;
    return servers;
}
inline ForkServer& ForkServer::of_this_program() { return fork_servers().get(); }

template <class WriteCall>
ServedProcess ForkServer::start(ChildPapers papers, std::span<const std::string> environment, WriteCall&& write_call) {
    check_fresh_start();
    const bool daemon = papers.daemon;
    const std::string status = os::own_status();
    StartRequest request{.papers = std::move(papers),
                         .surroundings = os::Surroundings::current(status),
                         .environment = os::environment_block(environment)};
    std::vector<os::NativeHandle> behind;  // the fixed handles
    for (int number = 0; number <= 2; ++number) {
        if (!os::standard_stream_is_inherited(number)) continue;
        request.streams |= 1U << number;
        behind.push_back(number);
    }
    Outgoing luggage;
    Encoder out;
    out.carry(luggage);
    request.encode(out);
    write_call(out);
    behind.insert(behind.end(), luggage.handles().begin(), luggage.handles().end());
    if (behind.size() + static_cast<std::size_t>(Along::count) > os::most_handles)
        throw CodecError(
            "a process cannot be given so many locks, queues, connections and their like: send some later");
    const auto job = os::SharedMapping::create(out.size());
    std::memcpy(job.data(), out.bytes().data(), out.size());
    const os::Handle directory = os::open_working_directory();
    os::flush_standard_streams();
    return start_with(os::current_standing(status), request.surroundings, job, directory, behind, daemon);
}

inline ServedProcess ForkServer::start_with(const std::string& standing, const os::Surroundings& surroundings,
                                            const os::SharedMapping& job, const os::Handle& directory,
                                            std::span<const os::NativeHandle> behind, bool daemon) {
    const std::scoped_lock lock{mutex_};
    // Once more with a new server: the old one was killed, or hung, with or without this order.
    for (int attempt = 0; attempt < 2; ++attempt) {
        use_server(standing, surroundings);
        Attempt channels;
        std::vector<os::NativeHandle> along{job.handle().get(), channels.control.second.get(),
                                            channels.news.second.get(), directory.get()};
        along.insert(along.end(), behind.begin(), behind.end());
        std::vector<os::Handle> came;
        const auto report = ask({.kind = ServerOrder::Kind::start, .daemon = daemon}, along, came);
        if (!report) {
            give_up();
            continue;
        }
        if (report->kind == ServerReport::Kind::failed) os::throw_system_error("fork in the fork server", report->code);
        // Below, the child sees the end of its channel, and ends.
        if (os::can_watch_processes() && came.empty())
            os::throw_system_error("recvmsg of a watch for a new process", EMFILE);
        const std::byte go[1] = {};
        // Where the child is gone already, its end tells that it ran nothing; where it is there, it ends now.
        if (!os::send_all(channels.control.first, go)) os::stop_sending(channels.control.first);
        return {os::adopt_served_child(report->pid, came.empty() ? os::Handle{} : std::move(came.front()),
                                       std::move(channels.news.first)),
                std::move(channels.control.first)};
    }
    throw Error("the fork server was gone or did not answer, and so did the one made in its place");
}

inline void ForkServer::use_server(const std::string& standing, const os::Surroundings& surroundings) {
    std::erase_if(retired_, [](os::Child& server) { return server.reap(); });
    if (control_ && server_.reap()) give_up();
    if (control_ && (standing != standing_ || !surroundings.are_within(surroundings_))) retire();
    if (!control_) make_server(standing, surroundings);
}

inline void ForkServer::make_server(const std::string& standing, const os::Surroundings& surroundings) {
    os::SpawnOptions options;
    // Until it ignores them they could end it: it begins in the program's own group.
    const os::SignalMask blocked = os::TerminalSignals::mask();
    options.signal_mask = &blocked;
    options.flushes = false;  // it prints nothing, and here is a lock
    FreshChild fresh = start_fresh_child(child_main<&run_fork_server>, {}, {}, options);
    ServerReport report;
    std::vector<os::Handle> came;
    const auto bytes = std::as_writable_bytes(std::span{&report, 1});
    // The server's parent has done its part when the server answers. The server itself ends with its channel.
    const auto finish = [&](bool done) {
        if (!done) fresh.process.send_signal(os::certain_end);
        fresh.process.wait(plait::detail::Deadline::never());
    };
    bool answers = false;
    try {
        answers = os::receive_with_handles(fresh.control, bytes, came, plait::detail::Deadline{patience_});
    } catch (...) {
        finish(false);
        throw;
    }
    const bool ready = report.magic == ServerReport::magic_word && report.kind == ServerReport::Kind::ready;
    finish(ready);
    if (!ready) {
        if (const auto refusal = Farewell::receive(fresh.control, bytes); refusal && refusal->exception)
            std::rethrow_exception(refusal->exception);
        throw Error("the fork server ended before it could serve, or did not answer");
    }
    if (!answers || came.empty() == os::can_watch_processes()) os::throw_system_error("recvmsg of a watch", EMFILE);
    // Without a watch the end of the channel tells of its end.
    server_ = came.empty() ? os::adopt_served_child(report.pid, os::Handle{}, os::duplicate(fresh.control))
                           : os::adopt_served_child(report.pid, std::move(came.front()), os::Handle{});
    control_ = std::move(fresh.control);
    standing_ = standing;
    surroundings_ = surroundings;
}

inline std::optional<ServerReport> ForkServer::ask(ServerOrder order, std::span<const os::NativeHandle> along,
                                                   std::vector<os::Handle>& came) {
    order.number = ++orders_;
    if (!os::send_with_handles(control_, std::as_bytes(std::span{&order, 1}), along)) return std::nullopt;
    const plait::detail::Deadline deadline{patience_};
    try {
        for (;;) {
            ServerReport report{.magic = 0};
            came.clear();
            static_cast<void>(
                os::receive_with_handles(control_, std::as_writable_bytes(std::span{&report, 1}), came, deadline));
            if (report.magic != ServerReport::magic_word) return std::nullopt;
            if (report.number == order.number) return report;
        }
    } catch (...) {
        give_up();  // its report is still to come: the next would be told of this one's child
        throw;
    }
}

inline void ForkServer::guard(const os::Child& daemon) {
    const std::scoped_lock lock{mutex_};
    const os::NativeHandle along[] = {daemon.sentinel()};
    std::vector<os::Handle> came;
    if (!control_) return;
    const auto report = ask({.kind = ServerOrder::Kind::guard}, along, came);
    if (!report) return give_up();
    if (report->kind == ServerReport::Kind::failed)
        os::throw_system_error("guarding a daemon by the fork server", report->code);
}

inline void ForkServer::retire() noexcept {
    if (!control_) return;
    const ServerOrder order{.kind = ServerOrder::Kind::retire};
    try {
        static_cast<void>(os::send_with_handles(control_, std::as_bytes(std::span{&order, 1}), {}));
        retired_.push_back(std::move(server_));
    } catch (...) {
        // It sees the end of its channel instead.
    }
    server_ = os::Child{};
    control_.reset();
}

/// The server is killed, if it is there still; its children go on.
inline void ForkServer::give_up() noexcept {
    try {
        server_.send_signal(os::certain_end);
        server_.wait(plait::detail::Deadline::never());
    } catch (...) {
        // It is not ours to signal any more: it has another user, and sees the end of its channel.
    }
    server_ = os::Child{};
    control_.reset();
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

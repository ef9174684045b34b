// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/report.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/detail/main_mark.hpp>
#include <plait/multiprocessing/process/farewell.hpp>
#include <plait/multiprocessing/remote_call.hpp>
#include <plait/os/channel.hpp>
#include <plait/os/child.hpp>
#include <plait/os/image.hpp>
#include <plait/os/memory.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>
#include <plait/os/thread.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <span>
#include <string>
#include <utility>
#include <vector>

// How a fresh start of this executable becomes a child of ours.
//
// The parent starts it with one argument, `--plait-child`, and one channel as handle 3, in which a message already waits:
// the handle of a piece of shared memory with the child's job. `freeze_support` in the child's main takes over if the
// argument is there, and obeys only if the channel was made by its own parent process, of the same user, and the job was
// written by the same build of the same program. Else it ends with status 125 and one line, and main never runs.
//
// A program with raised privileges never obeys: its user could be its parent, and so have it run what he likes.

namespace plait::inline PLAIT_ABI::multiprocessing {

namespace detail {

inline constexpr const char* child_argument = "--plait-child";

/// What lies at the beginning of a job's memory; the encoded place of its `main`, and the bytes that this decodes, follow.
struct JobHeader {
    static constexpr std::uint64_t magic_word = 0x706C'6169'7420'6A6F;  // "plait jo"
    static constexpr std::uint64_t this_layout = std::uint64_t{PLAIT_VERSION} << 8 | sizeof(void*);

    std::uint64_t magic;
    std::uint64_t layout;
    std::array<std::byte, 16> identity;
    std::uint64_t place_size;
    std::uint64_t payload_size;
};

/// What a fresh child's own main gets.
struct ChildContext {
    os::Handle control;               ///< the channel to the parent
    std::vector<os::Handle> handles;  ///< what else the parent sent
    std::span<const std::byte> payload;
    std::int64_t parent = 0;
};

/// A main of a fresh child, as an entry record of its own kind.
struct ChildMain {
    static constexpr std::uint64_t magic_word = 0x706C'6169'7420'6D61;  // "plait ma"

    std::uint64_t magic;
    int (*run)(ChildContext& context);
};
template <int (*run)(ChildContext& context)>
inline constexpr ChildMain child_main{ChildMain::magic_word, run};

struct FreshChild {
    os::Child process;
    os::Handle control;
};

inline bool fresh_starts_find_their_way() noexcept { return main_is_marked() && !os::has_raised_privileges(); }

/// Throws: UsageError where a fresh start would not find its way.
inline void check_fresh_start() {
    if (!main_is_marked())
        throw UsageError(
            "a fresh start of this program would run its main again instead of the child's function: begin main with "
            "plait::multiprocessing::freeze_support(argc, argv), or use Process::forked or StartMethod::fork");
    if (os::has_raised_privileges())
        throw UsageError(
            "a program with raised privileges (set-uid, file capabilities) does not start itself anew: "
            "drop them first, or use StartMethod::fork");
}

/// Starts this executable anew, to run `entry` with `payload` and `handles`.
/// Throws: UsageError where the child would not find its way, before anything is started; std::system_error.
inline FreshChild start_fresh_child(const ChildMain& entry, std::span<const std::byte> payload,
                                    std::span<const os::NativeHandle> handles, const os::SpawnOptions& options = {}) {
    check_fresh_start();
    const auto place =
        encode(place_of(reinterpret_cast<std::uintptr_t>(&entry), sizeof entry, "a function of this module"));
    const JobHeader header{JobHeader::magic_word, JobHeader::this_layout, os::executable_image().identity(),
                           place.size(), payload.size()};
    const auto job = os::SharedMapping::create(sizeof header + place.size() + payload.size());
    std::memcpy(job.data(), &header, sizeof header);
    std::memcpy(job.data() + sizeof header, place.data(), place.size());
    if (!payload.empty()) std::memcpy(job.data() + sizeof header + place.size(), payload.data(), payload.size());

    os::ChannelEnds channel = os::make_channel();
    std::vector<os::NativeHandle> sent{job.handle().get()};
    sent.insert(sent.end(), handles.begin(), handles.end());
    const std::byte hello[1] = {std::byte{'p'}};
    os::send_with_handles(channel.first, hello, sent);
    const std::string arguments[] = {child_argument};
    return {os::spawn_self(arguments, channel.second, options), std::move(channel.first)};
}

struct CheckedJob {
    const ChildMain* entry;
    std::span<const std::byte> payload;
};

/// Throws: CodecError for bytes that no program of this build wrote.
inline CheckedJob check_job(std::span<const std::byte> job) {
    JobHeader header;
    if (job.size() < sizeof header) throw CodecError("its job is too short");
    std::memcpy(&header, job.data(), sizeof header);
    if (header.magic != JobHeader::magic_word || header.layout != JobHeader::this_layout)
        throw CodecError("its job was written by another version of plait");
    if (header.identity != os::executable_image().identity())
        throw CodecError("its job was written by another build of this program");
    const auto content = job.subspan(sizeof header);
    if (header.place_size > content.size() || header.payload_size > content.size() - header.place_size)
        throw CodecError("its job is truncated");
    const auto* const entry = constant_at<ChildMain>(decode<Place>(content.first(header.place_size)));
    if (entry == nullptr || entry->magic != ChildMain::magic_word)
        throw CodecError("its job names no main of this program");
    return {entry, content.subspan(header.place_size, header.payload_size)};
}

int take_job(ChildContext& context);

/// The whole life of a fresh child: checks, runs its main, gives its exit status. Refusals are exceptions, and told to
/// the parent once it is known to be one.
inline int run_fresh_child() {
    ChildContext context;
    context.control = os::inherited_handle(os::first_inherited);
    context.parent = os::parent_process_id();
    if (!os::peer_is(context.control, context.parent)) {
        os::PollItem end{context.control.get(), 0};
        static_cast<void>(os::poll({&end, 1}, plait::detail::Deadline::at({})));
        if (end.has_hung_up()) return refused_status;  // its parent was killed meanwhile: nobody wants to read of that
        throw CodecError("its channel was not made by its parent");
    }
    try {
        return take_job(context);
    } catch (...) {
        if (context.control) Farewell::send(context.control, refused_status, std::current_exception());
        throw;
    }
}

inline int take_job(ChildContext& context) {
    std::byte hello[1];
    // The message was there before this process was: a deadline is only for who fakes it.
    if (!os::receive_with_handles(context.control, hello, context.handles,
                                  plait::detail::Deadline{std::chrono::seconds{2}}) ||
        context.handles.empty())
        throw CodecError("its parent is gone, or sent no job");

    auto job = os::SharedMapping::open(std::move(context.handles.front()));
    job.drop_handle();  // children of this child have no use for it
    context.handles.erase(context.handles.begin());
    const CheckedJob checked = check_job(job.bytes());
    context.payload = checked.payload;
    return checked.entry->run(context);
}

}  // namespace detail

/// The first line of `main` in a program that starts processes: returns at once in the program, and never in a child
/// that was made from a fresh start of its executable, which runs there what it was made for.
///
///     int main(int argc, char** argv) {
///         plait::multiprocessing::freeze_support(argc, argv);
///         …
///     }
///
/// Python: multiprocessing.freeze_support under `if __name__ == "__main__":`. Without it, starting such a child is a
/// UsageError in the parent, before anything is started.
inline void freeze_support(int argc, char** argv) {
    if (argc > 0) os::remember_program(argv[0]);
    os::remember_main_thread();
    detail::mark_main();
    if (argc != 2 || std::strcmp(argv[1], detail::child_argument) != 0) return;
    if (os::was_raised_at_start()) {
        detail::tell_refusal("a program with raised privileges (set-uid, file capabilities) is nobody's child");
        os::exit_immediately(detail::refused_status);
    }

    int status = detail::refused_status;
    try {
        os::open_missing_standard_streams();
        // Those behind the channel are held for life, and by this process alone.
        for (int i = 1; i < os::inherited_handles(); ++i)
            static_cast<void>(os::inherited_handle(os::first_inherited + i).release());
        // Else the parent had them closed: what is open here now this process opened itself, before its main.
        if constexpr (!os::spawn_closes_other_handles)
            os::close_handles_from(os::first_inherited + os::inherited_handles());
        status = detail::run_fresh_child();
    } catch (...) {
        detail::tell_refusal(plait::detail::describe(std::current_exception()));
        os::exit_immediately(detail::refused_status);
    }
    std::exit(status);  // its own exit handlers and static destructors run, as for any program
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing

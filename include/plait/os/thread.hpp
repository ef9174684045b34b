// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

/// What an operating system knows of threads and processors.
namespace plait::inline PLAIT_ABI::os {

/// Gives the calling thread `name` for debuggers and process lists, cut to 15 bytes at a character's edge; where the
/// system keeps no names, for `thread_name` alone.
void set_thread_name(std::string_view name) noexcept;
/// The calling thread's name there.
[[nodiscard]] std::string thread_name();

/// The system's number of the calling thread; no two live threads of a program share one.
[[nodiscard]] std::uint64_t native_thread_id() noexcept;
[[nodiscard]] std::int64_t current_process_id() noexcept;

/// Whether the calling thread is the program's first: the one that called `remember_main_thread`; else the one whose
/// number is the process's on Linux, and the first to ask elsewhere.
[[nodiscard]] bool is_main_thread() noexcept;
void remember_main_thread() noexcept;
/// That thread's number; 0 where it is not known yet.
[[nodiscard]] std::uint64_t main_thread_id() noexcept;

/// From now on the child of each fork calls `function` first of all; nothing where there is no fork.
void call_in_forked_children(void (*function)());
/// The same of three: each fork calls `before` in the thread that forks, and then one of the others.
void call_around_forks(void (*before)(), void (*in_parent)(), void (*in_child)());

/// How many processors this program may use: of its affinity mask and, on Linux, its control group's quota; at least 1.
[[nodiscard]] unsigned usable_processors();

namespace detail {

using namespace plait::detail;

inline constexpr std::size_t thread_name_size = 15;

/// The longest start of `name` that has at most thread_name_size bytes and ends between two characters of UTF-8.
constexpr std::string_view cut_thread_name(std::string_view name) noexcept {
    if (name.size() <= thread_name_size) return name;
    std::size_t size = thread_name_size;
    const auto continues = [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U; };
    while (size > 0 && continues(name[size])) --size;
    return name.substr(0, size);
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::os

#if defined(_WIN32)
#  include <plait/os/windows/thread.hpp>
#elif defined(__linux__) && !defined(PLAIT_PORTABLE_POSIX)
#  include <plait/os/linux/thread.hpp>
#else
#  include <plait/os/posix/thread.hpp>
#endif

// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/thread.hpp>

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <string>

namespace plait::inline PLAIT_ABI::os {

namespace detail {

// POSIX knows neither names nor numbers of threads: they are kept here.
struct ThreadNotes {
    char name[thread_name_size + 1];
    std::uint64_t id;
};

PLAIT_VISIBLE inline ThreadNotes& thread_notes() noexcept {
    static constinit thread_local ThreadNotes notes{};
    return notes;
}

PLAIT_VISIBLE inline std::atomic<std::uint64_t>& remembered_main_thread() noexcept {
    static constinit std::atomic<std::uint64_t> id{0};
    return id;
}

}  // namespace detail

inline void set_thread_name(std::string_view name) noexcept {
    char(&text)[detail::thread_name_size + 1] = detail::thread_notes().name;
    const std::string_view cut = detail::cut_thread_name(name);
    *std::copy(cut.begin(), cut.end(), text) = '\0';
}

inline std::string thread_name() { return detail::thread_notes().name; }

inline std::uint64_t native_thread_id() noexcept {
    static constinit std::atomic<std::uint64_t> last{0};
    std::uint64_t& id = detail::thread_notes().id;
    if (id == 0) id = last.fetch_add(1, std::memory_order_relaxed) + 1;
    return id;
}

inline std::int64_t current_process_id() noexcept { return ::getpid(); }

inline bool is_main_thread() noexcept {
    std::uint64_t main = 0;
    const std::uint64_t self = native_thread_id();
    return detail::remembered_main_thread().compare_exchange_strong(main, self, std::memory_order_relaxed) ||
           main == self;
}

inline void remember_main_thread() noexcept {
    detail::remembered_main_thread().store(native_thread_id(), std::memory_order_relaxed);
}

inline std::uint64_t main_thread_id() noexcept {
    return detail::remembered_main_thread().load(std::memory_order_relaxed);
}

inline void call_around_forks(void (*before)(), void (*in_parent)(), void (*in_child)()) {
    // It fails for want of memory only.
    if (::pthread_atfork(before, in_parent, in_child) != 0) throw std::bad_alloc();
}

inline void call_in_forked_children(void (*function)()) { call_around_forks(nullptr, nullptr, function); }

inline unsigned usable_processors() { return static_cast<unsigned>((std::max)(::sysconf(_SC_NPROCESSORS_ONLN), 1L)); }

}  // namespace plait::inline PLAIT_ABI::os

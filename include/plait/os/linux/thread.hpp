// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/thread.hpp>

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace plait::inline PLAIT_ABI::os {

inline void set_thread_name(std::string_view name) noexcept {
    char text[detail::thread_name_size + 1]{};
    const std::string_view cut = detail::cut_thread_name(name);
    std::copy(cut.begin(), cut.end(), text);
    ::prctl(PR_SET_NAME, text, 0, 0, 0);
}

inline std::string thread_name() {
    char text[detail::thread_name_size + 1]{};
    ::prctl(PR_GET_NAME, text, 0, 0, 0);
    return text;
}

// Never cached: the child of a fork has the same thread-locals and another number.
inline std::uint64_t native_thread_id() noexcept { return static_cast<std::uint64_t>(::syscall(SYS_gettid)); }
inline std::int64_t current_process_id() noexcept { return ::getpid(); }

namespace detail {

/// The process and the thread that called remember_main_thread: a forked child has a main thread of its own.
struct RememberedThread {
    std::atomic<std::int64_t> process{0};
    std::atomic<std::uint64_t> thread{0};
};

PLAIT_VISIBLE inline RememberedThread& remembered_main_thread() noexcept {
    static constinit RememberedThread remembered;
    return remembered;
}

/// As many as the affinity mask holds, or 0 where it cannot be read.
inline unsigned processors_of_affinity() {
    // The kernel refuses a mask shorter than its own, of a size that no call tells.
    for (std::size_t words = 16; words <= 4096; words *= 2) {
        std::vector<unsigned long> mask(words);
        // The C library's wrapper wants its own fixed type; the call itself returns the bytes that it wrote.
        const long bytes = ::syscall(SYS_sched_getaffinity, 0, words * sizeof(unsigned long), mask.data());
        if (bytes < 0) continue;
        unsigned count = 0;
        for (unsigned long word : mask)
            for (; word != 0; word &= word - 1) ++count;
        return count;
    }
    return 0;
}

/// The first line of a small file, or nothing.
inline std::string first_line(const std::string& path) {
    const auto close = [](std::FILE* file) { std::fclose(file); };
    const std::unique_ptr<std::FILE, decltype(close)> file{std::fopen(path.c_str(), "re")};
    char line[4096];
    if (!file || std::fgets(line, sizeof line, file.get()) == nullptr) return {};
    line[std::strcspn(line, "\n")] = '\0';
    return line;
}

/// How many processors' time `quota` microseconds in each `period` are, rounded up; 0 for no limit.
inline unsigned processors_of_quota(long long quota, long long period) noexcept {
    if (quota <= 0 || period <= 0) return 0;
    return static_cast<unsigned>((std::min)((quota - 1) / period + 1, 1'000'000LL));
}

/// A control group's limit from its cpu.max ("max 100000" or "150000 100000"); 0 for none.
inline unsigned processors_of_cpu_max(const std::string& line) noexcept {
    char* rest = nullptr;
    const long long quota = std::strtoll(line.c_str(), &rest, 10);
    return processors_of_quota(quota, std::strtoll(rest, nullptr, 10));
}

/// The tightest limit of this process's control group and those above it; 0 for none.
inline unsigned processors_of_control_group() {
    unsigned tightest = 0;
    const auto apply = [&](unsigned limit) {
        if (limit != 0 && (tightest == 0 || limit < tightest)) tightest = limit;
    };
    const std::string root = "/sys/fs/cgroup";
    std::string group = first_line("/proc/self/cgroup");  // version 2 has one line, "0::/path"
    group = group.starts_with("0::") ? group.substr(3) : std::string{};
    for (;;) {
        apply(processors_of_cpu_max(first_line(root + group + "/cpu.max")));
        const std::size_t slash = group.rfind('/');
        if (slash == std::string::npos) break;
        group.resize(slash);
    }
    const std::string version_1 = root + "/cpu/cpu.cfs_";
    apply(processors_of_quota(std::atoll(first_line(version_1 + "quota_us").c_str()),
                              std::atoll(first_line(version_1 + "period_us").c_str())));
    return tightest;
}

}  // namespace detail

inline std::uint64_t main_thread_id() noexcept {
    const auto& remembered = detail::remembered_main_thread();
    const std::int64_t process = current_process_id();
    // Acquire pairs with the release in remember_main_thread: the thread was written before the process.
    if (remembered.process.load(std::memory_order_acquire) == process)
        return remembered.thread.load(std::memory_order_relaxed);
    return static_cast<std::uint64_t>(process);
}

inline bool is_main_thread() noexcept { return native_thread_id() == main_thread_id(); }

inline void remember_main_thread() noexcept {
    auto& remembered = detail::remembered_main_thread();
    remembered.thread.store(native_thread_id(), std::memory_order_relaxed);
    remembered.process.store(current_process_id(), std::memory_order_release);
}

inline void call_around_forks(void (*before)(), void (*in_parent)(), void (*in_child)()) {
    // It fails for want of memory only.
    if (::pthread_atfork(before, in_parent, in_child) != 0) throw std::bad_alloc();
}

inline void call_in_forked_children(void (*function)()) { call_around_forks(nullptr, nullptr, function); }

inline unsigned usable_processors() {
    unsigned count = detail::processors_of_affinity();
    if (count == 0) count = static_cast<unsigned>((std::max)(::sysconf(_SC_NPROCESSORS_ONLN), 1L));
    const unsigned limit = detail::processors_of_control_group();
    return limit != 0 ? (std::min)(count, limit) : count;
}

}  // namespace plait::inline PLAIT_ABI::os

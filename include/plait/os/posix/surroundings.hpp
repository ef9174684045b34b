// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/handle.hpp>
#include <plait/os/process.hpp>
#include <plait/os/system_error.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::os {

struct Surroundings {
    struct Limit {
        std::uint64_t soft;
        std::uint64_t hard;
    };
    static constexpr int signals = 64;

    std::int64_t process_group;  ///< 0: it cannot be named here
    std::uint64_t ignored;       ///< bit n - 1 for signal n
    std::uint64_t blocked;
    std::array<std::uint64_t, 16> processors;  ///< none: not told
    std::array<Limit, 16> limits;
    std::uint32_t limit_count;
    std::uint32_t file_mask;
    std::int32_t nice;
    std::uint32_t padding;

    /// The calling thread's; `status` is its own_status().
    static Surroundings current(std::string_view status);
    /// Whether every process can make them its own that began with `others`, without a right to more.
    [[nodiscard]] bool are_within(const Surroundings& others) const noexcept;
    void apply() const;
    void apply_signal_mask() const noexcept;

private:
    void apply_signals() const noexcept;
    void apply_limits() const;
};

namespace detail {

using namespace plait::detail;

/// What the systems have names for, in one order for both ends.
inline constexpr std::array limit_names{RLIMIT_CPU,  RLIMIT_FSIZE,  RLIMIT_DATA, RLIMIT_STACK,
                                        RLIMIT_CORE, RLIMIT_NOFILE, RLIMIT_AS};

template <std::size_t count>
Surroundings basic_surroundings(const std::array<decltype(RLIMIT_CPU), count>& names) {
    Surroundings now{};
    now.process_group = ::getpgrp();
    const SignalMask mask = SignalMask::current();
    for (int number = 1; number <= Surroundings::signals; ++number) {
        const std::uint64_t bit = std::uint64_t{1} << (number - 1);
        struct ::sigaction action{};
        if (::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) now.ignored |= bit;
        if (::sigismember(&mask.native, number) == 1) now.blocked |= bit;
    }
    for (const auto name : names) {
        struct ::rlimit limit{};
        if (::getrlimit(name, &limit) != 0) throw_system_error("getrlimit");
        now.limits[now.limit_count++] = {limit.rlim_cur, limit.rlim_max};
    }
    errno = 0;
    now.nice = ::getpriority(PRIO_PROCESS, 0);
    return now;
}

template <std::size_t count>
void apply_limits(const Surroundings& wanted, const std::array<decltype(RLIMIT_CPU), count>& names) {
    for (std::size_t i = 0; i < (std::min)(std::size_t{wanted.limit_count}, names.size()); ++i) {
        struct ::rlimit limit{};
        const struct ::rlimit given{static_cast<::rlim_t>(wanted.limits[i].soft),
                                    static_cast<::rlim_t>(wanted.limits[i].hard)};
        if (::getrlimit(names[i], &limit) == 0 && limit.rlim_cur == given.rlim_cur && limit.rlim_max == given.rlim_max)
            continue;
        if (::setrlimit(names[i], &given) != 0) throw_system_error("setrlimit");
    }
}

void apply_processors(const Surroundings& wanted);

}  // namespace detail

inline bool Surroundings::are_within(const Surroundings& others) const noexcept {
    if (nice < others.nice) return false;
    for (std::size_t i = 0; i < (std::min)(std::size_t{limit_count}, limits.size()); ++i)
        if (limits[i].hard > others.limits[i].hard) return false;
    return true;
}

inline void Surroundings::apply() const {
    // The group is gone where the program is; that ends this child in other ways.
    if (process_group > 0 && process_group != ::getpgrp()) ::setpgid(0, static_cast<pid_t>(process_group));
    ::umask(static_cast<::mode_t>(file_mask & 0777U));
    if (::getpriority(PRIO_PROCESS, 0) != nice && ::setpriority(PRIO_PROCESS, 0, nice) != 0)
        throw_system_error("setpriority");
    detail::apply_processors(*this);
    apply_signals();
    apply_limits();
}

inline void Surroundings::apply_signals() const noexcept {
    for (int number = 1; number <= signals; ++number) {
        const bool ignore = (ignored >> (number - 1) & 1U) != 0;
        struct ::sigaction action{};
        if (::sigaction(number, nullptr, &action) != 0 || (action.sa_handler == SIG_IGN) == ignore) continue;
        ::signal(number, ignore ? SIG_IGN : SIG_DFL);
    }
}

inline void Surroundings::apply_signal_mask() const noexcept {
    SignalMask mask = SignalMask::none();
    for (int number = 1; number <= signals; ++number)
        if ((blocked >> (number - 1) & 1U) != 0) ::sigaddset(&mask.native, number);
    mask.apply();
}

inline void enter_directory(const Handle& directory) {
    if (::fchdir(directory.get()) != 0) throw_system_error("fchdir to the program's working directory");
}

/// The program's environment, `over` (NAME=value) in place of variables of the same name.
inline std::string environment_block(std::span<const std::string> over) {
    std::string block;
    const auto add = [&](std::string_view entry) { block.append(entry).push_back('\0'); };
    for (const std::string& entry : over) add(entry);
    for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string_view text{*entry};
        const std::string_view name = text.substr(0, text.find('=') + 1);
        const auto names_it = [&](const std::string& own) { return !name.empty() && own.starts_with(name); };
        if (std::none_of(over.begin(), over.end(), names_it)) add(text);
    }
    return block;
}

/// For a process with a single thread.
inline void replace_environment(std::string block) {
    // Neither is ever freed: what getenv gave stays valid.
    auto& text = *new std::string(std::move(block));
    auto& entries = *new std::vector<char*>;
    if (!text.empty() && text.back() != '\0') text.push_back('\0');
    for (std::size_t at = 0; at < text.size(); at = text.find('\0', at) + 1) entries.push_back(text.data() + at);
    entries.push_back(nullptr);
    ::environ = entries.data();
}

/// Whether a process that this one executes would have it.
inline bool standard_stream_is_inherited(NativeHandle number) noexcept {
    const int flags = ::fcntl(number, F_GETFD);
    return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

/// `given` none: the null device.
inline void replace_standard_stream(NativeHandle number, NativeHandle given) {
    const Handle null =
        given != Handle::none
            ? Handle{}
            : above_standard_streams(::open("/dev/null", (number == 0 ? O_RDONLY : O_WRONLY) | O_CLOEXEC));
    if (::dup2(null ? null.get() : given, number) < 0) throw_system_error("dup2 of a standard stream");
}

}  // namespace plait::inline PLAIT_ABI::os

// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/posix/surroundings.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace plait::inline PLAIT_ABI::os {

inline std::string own_status() { return {}; }

inline Surroundings Surroundings::current(std::string_view) {
    Surroundings now = detail::basic_surroundings(detail::limit_names);
    // There is no other way to ask: a file that another thread creates just then has a mode too wide or too narrow.
    const ::mode_t mask = ::umask(077);
    ::umask(mask);
    now.file_mask = mask;
    return now;
}

inline void Surroundings::apply_limits() const { detail::apply_limits(*this, detail::limit_names); }

inline void detail::apply_processors(const Surroundings&) {}

inline std::string current_standing(std::string_view) {
    std::string standing;
    const auto add = [&](auto number) { standing += std::to_string(number) + " "; };
    add(::getuid());
    add(::geteuid());
    add(::getgid());
    add(::getegid());
    std::vector<::gid_t> groups(static_cast<std::size_t>((std::max)(::getgroups(0, nullptr), 0)));
    if (::getgroups(static_cast<int>(groups.size()), groups.data()) >= 0)
        for (const ::gid_t group : groups) add(group);
    add(::getsid(0));
    struct ::stat root{};
    if (::stat("/", &root) == 0) {
        add(root.st_dev);
        add(root.st_ino);
    }
    return standing;
}

inline Handle open_working_directory() {
    Handle directory = above_standard_streams(::open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory) throw_system_error("open of the working directory");
    return directory;
}

}  // namespace plait::inline PLAIT_ABI::os

// SPDX-License-Identifier: MIT
#pragma once

#include <plait/multiprocessing/start_method.hpp>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// What a Process may be told before it starts.
struct ProcessOptions {
    std::string name = {};  ///< for people; Process-1, Process-2 and so on where it is empty
    bool daemon = false;    ///< does not outlive this program, however that ends; terminated by the destructor
    std::optional<StartMethod> start_method = {};  ///< `get_start_method()` where it is empty
    /// Variables that the child has over this program's own.
    std::vector<std::pair<std::string, std::string>> environment = {};
};

/// How a process ended.
struct ExitStatus {
    bool known = false;     ///< false while it runs, and where the host, or a killed server, took it
    std::int64_t code = 0;  ///< the exit code; minus the signal's number
    int signal = 0;         ///< the signal that ended it, or 0
    std::string text = {};  ///< for people
};

namespace detail {

/// `options` with a name. Throws: std::invalid_argument for an environment that no process can have.
inline ProcessOptions checked(ProcessOptions options, const std::string& numbers) {
    if (options.name.empty()) options.name = "Process-" + numbers;
    const auto has_zero = [](const std::string& text) { return text.find('\0') != text.npos; };
    for (const auto& [variable, value] : options.environment)
        if (variable.empty() || variable.find('=') != variable.npos || has_zero(variable) || has_zero(value))
            throw std::invalid_argument(
                "plait: a name in a process's environment is empty or holds '=' or a zero byte");
    return options;
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::multiprocessing

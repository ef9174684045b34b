// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/report.hpp>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI {

/// Several things went wrong side by side, and none of them is to be lost.
///
///     try {
///         co_await task_group(download_all);
///     } catch (const ExceptionGroup& group) {
///         for (const std::exception_ptr& error : group.exceptions()) log(error);
///     }
///
/// Python: ExceptionGroup. `what()` tells how many there are and what the first few say. Copies share the exceptions.
class PLAIT_VISIBLE ExceptionGroup : public Error {
public:
    ExceptionGroup(const std::string& message, std::vector<std::exception_ptr> exceptions)
        : Error{text(message, exceptions)}, members_{new Members{std::move(exceptions)}, &Members::destroy} {}

    /// In the order in which they came.
    const std::vector<std::exception_ptr>& exceptions() const noexcept { return members_->exceptions; }

private:
    // Groups may lie in groups, a hundred thousand deep: so the end of one within the end of another waits until the
    // stack is flat again.
    struct Members {
        explicit Members(std::vector<std::exception_ptr> given) noexcept : exceptions{std::move(given)} {}
        static void destroy(Members* members) noexcept;

        std::vector<std::exception_ptr> exceptions;
        Members* following = nullptr;
    };
    static constexpr std::size_t told = 5;
    static constexpr std::size_t longest = 200;

    static std::string text(const std::string& message, const std::vector<std::exception_ptr>& exceptions);

    std::shared_ptr<const Members> members_;
};

inline void ExceptionGroup::Members::destroy(Members* members) noexcept {
    struct Dying {
        Members* first;
        bool at_work;
    };
    static constinit thread_local Dying dying{};
    members->following = std::exchange(dying.first, members);
    if (std::exchange(dying.at_work, true)) return;
    while (dying.first != nullptr) delete std::exchange(dying.first, dying.first->following);
    dying.at_work = false;
}

inline std::string ExceptionGroup::text(const std::string& message, const std::vector<std::exception_ptr>& exceptions) {
    const std::size_t count = exceptions.size();
    std::string all = message + " (" + std::to_string(count) + (count == 1 ? " error" : " errors");
    const std::size_t shown = (std::min)(count, told);
    for (std::size_t i = 0; i < shown; ++i) {
        std::string one = detail::describe(exceptions[i]);
        if (one.size() > longest) one.replace(longest, std::string::npos, "...");
        all += (i == 0 ? ": " : "; ") + one;
    }
    if (count > shown) all += "; and " + std::to_string(count - shown) + " more";
    return all + ")";
}

}  // namespace plait::inline PLAIT_ABI

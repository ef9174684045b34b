// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// The values of context variables, by the variables' numbers. Never changed, so that tasks and threads may share them.
class ContextValues {
public:
    using Value = std::shared_ptr<const void>;

    /// The variable's value, or null.
    [[nodiscard]] Value find(std::uint64_t variable) const noexcept {
        for (const auto& [number, value] : values_)
            if (number == variable) return value;
        return nullptr;
    }
    /// A copy of `values`, which may be null, with one value in place of another; a null value takes it out.
    static std::shared_ptr<const ContextValues> with(const ContextValues* values, std::uint64_t variable, Value value) {
        auto changed = std::make_shared<ContextValues>();
        if (values != nullptr)
            for (const auto& entry : values->values_)
                if (entry.first != variable) changed->values_.push_back(entry);
        if (value) changed->values_.emplace_back(variable, std::move(value));
        return changed;
    }

private:
    std::vector<std::pair<std::uint64_t, Value>> values_;
};

using Context = std::shared_ptr<const ContextValues>;

/// The context of what runs now: the task's, or outside of tasks the thread's. Null while nothing was set.
[[nodiscard]] inline const Context& current_context() noexcept;
inline void set_current_context(Context context);

}  // namespace plait::inline PLAIT_ABI::asyncio::detail

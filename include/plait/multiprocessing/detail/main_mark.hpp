// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/os/image.hpp>

#include <array>
#include <atomic>
#include <cstdint>

// Whether main began with `freeze_support`, without which a fresh start would run it again.
//
// A shared library may have all of plait's state for itself, and its processes shall start all the same. So it looks for a
// constant of the executable's that leads to the executable's state, and that its bytes tell from everything else.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Of this module: set by `freeze_support`, never taken back.
PLAIT_VISIBLE inline constinit std::atomic<bool> this_module_froze{false};

PLAIT_VISIBLE inline std::atomic<bool>& freeze_support_called() noexcept { return this_module_froze; }

struct MainMark {
    static constexpr std::array<std::uint64_t, 2> words{0x706C'6169'7420'6D6B,
                                                        std::uint64_t{PLAIT_VERSION} << 8 | sizeof(void*)};

    std::array<std::uint64_t, 2> begin;
    const MainMark* self;  ///< these words may stand elsewhere too; this address after them does not
    std::atomic<bool>* called;
};

PLAIT_VISIBLE inline constexpr MainMark main_mark{MainMark::words, &main_mark, &this_module_froze};

/// For `freeze_support`.
inline void mark_main() noexcept {
    os::keep_in_image(&main_mark);
    freeze_support_called().store(true, std::memory_order_relaxed);
}

/// In whichever module it stands.
inline bool main_is_marked() noexcept {
    if (freeze_support_called().load(std::memory_order_relaxed)) return true;
    // The executable does not change: what is not found once is never there.
    static const auto* const mark = static_cast<const MainMark*>(os::find_in_executable(MainMark::words));
    return mark != nullptr && mark->called->load(std::memory_order_relaxed);
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

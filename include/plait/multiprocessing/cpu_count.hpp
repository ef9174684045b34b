// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/os/thread.hpp>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// How many processes can run at once here: the processors that this program may use, by its affinity mask and its
/// control group's quota, not those of the machine.
///
/// Python: os.process_cpu_count.
inline unsigned cpu_count() { return os::usable_processors(); }

}  // namespace plait::inline PLAIT_ABI::multiprocessing

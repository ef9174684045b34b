// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <stdio_ext.h>

#include <cstdio>

namespace plait::inline PLAIT_ABI::os {

/// Read without the stream's lock: what this thread wrote, or saw written, is seen. glibc's macros of old had these fields
/// in every program; its function costs as much as all else that flush_standard_streams looks at.
template <class File>
bool may_hold_output(File& stream) noexcept {
    if constexpr (requires { stream._IO_write_ptr != stream._IO_write_base; })
        return stream._IO_write_ptr != stream._IO_write_base || stream._mode > 0;  // a wide stream has other fields
    else
        return ::__fpending(&stream) != 0;
}

}  // namespace plait::inline PLAIT_ABI::os

// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: `Handle`, the owner of one object of the kernel. Move-only; `get`, `release`, `reset`, and `operator bool`
// for "owns one". Closing changes no error code. `NativeHandle` is the system's own type, `Handle::none` no object.
// duplicate(handle) is another handle of the same object.
// identity_of(native) tells whether a number is still that of the same object: equal as long as it is.
// inherited_handle(native) owns one that this process was started with, and keeps it from what this process starts.

#if defined(_WIN32)
#  error "plait: processes are not built on Windows yet; include plait/threading.hpp and plait/asyncio.hpp instead"
#else
#  include <plait/os/posix/handle.hpp>
#endif

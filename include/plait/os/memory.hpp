// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: `SharedMapping`, memory that several processes see, without a name; the kernel frees it with its last holder.
//   SharedMapping::create(size)            zeroed; all of it is there at once, or std::system_error
//   SharedMapping::open(handle)            the same memory, by the handle that another process sent
//   SharedMapping::identity_of(handle)     the object behind it: equal for handles of one object, and only for these
//   handle(), data(), size()
//   drop_handle()                          of who will not send it on
//   keep_mapped()                          of who still stands in it when its handles are gone

#if !defined(_WIN32)
#  include <plait/os/posix/memory.hpp>
#  if defined(__linux__) && !defined(PLAIT_PORTABLE_POSIX)
#    include <plait/os/linux/anonymous_memory.hpp>
#  else
#    include <plait/os/posix/anonymous_memory.hpp>
#  endif
#endif

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
//   SharedMapping::create_named(name, size), open_memory_name(name) -> Handle, remove_memory_name(name): the same under
//   a name, for this user alone; one that is taken, or that nobody has, is std::system_error
//
// For memory that grows, of which each process sees what it looks at:
//   make_anonymous_memory()                a handle of none yet
//   set_memory_size(handle, size)          makes it larger, without using any; memory_size(handle) asks
//   allocate_memory(handle, offset, size)  has it there from now on, or std::system_error and nothing has changed
//   release_memory(handle, offset, size)   gives it back until it is allocated again, where the system can: it is zero then
//   MemoryView(handle, offset, size)       that part of it, as long as the view lives

#if !defined(_WIN32)
#  include <plait/os/posix/memory.hpp>
#  if defined(__linux__) && !defined(PLAIT_PORTABLE_POSIX)
#    include <plait/os/linux/anonymous_memory.hpp>
#  else
#    include <plait/os/posix/anonymous_memory.hpp>
#  endif
#endif

// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: what a process is told of itself, and sets for itself.
//   process_id(), parent_process_id()
//   remember_program(name), program_name(), executable_path()
//   flush_standard_streams()             stdout, stderr, cout, cerr, clog
//   exit_immediately(code)               no exit handlers, no destructors of static objects
//   open_missing_standard_streams(), read_nothing_from_standard_input()
//   close_handles_from(first)
//   lead_process_group()                 so that a terminal's signals pass it by
//   take_no_notice_of_interrupt()        SIGINT does nothing here, and what it did before in what this process executes
//   end_when_asked()                     SIGTERM ends it, whatever handler a copy of the program came with
//   has_raised_privileges()
//   SignalMask, BlockSignals             the calling thread's; BlockSignals blocks all for a scope
//   signal_description(number)           "SIGSEGV (segmentation fault)"
//   watch_process(pid) -> Handle         readable when that process is gone; none where the system has no such thing
//   die_with_parent(pid) -> bool         from now on this process is killed when its parent `pid` ends; false where it is
//                                        gone already, and `children_die_with_parent` says whether it does so. Only for
//                                        children of single-threaded parents.
//   wake_with_parent()                   a stopped process goes on when its parent ends, and sees to its own end; also when
//                                        no more than the thread ends that started it

#if !defined(_WIN32)
#  include <plait/os/posix/process.hpp>
#  if defined(__linux__) && !defined(PLAIT_PORTABLE_POSIX)
#    include <plait/os/linux/process.hpp>
#  else
#    include <plait/os/posix/process_fallback.hpp>
#  endif
#  include <plait/os/standard_streams.hpp>
#endif

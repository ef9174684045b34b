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
//   spawn_closes_other_handles           whether a fresh start can be had without the handles behind those it is given; else
//                                        it finds them open, and closes them itself, with those that it opened before its
//                                        main: a log of the program's, say, is closed in the child then
//   lead_process_group()                 so that a terminal's signals pass it by
//   take_no_notice_of_interrupt()        SIGINT does nothing here, and what it did before in what this process executes
//   end_when_asked()                     SIGTERM ends it, whatever handler a copy of the program came with
//   mind_own_children()                  SIGCHLD as it is by default: a copy of a program that ignores it could wait for none
//   has_raised_privileges()
//   was_raised_at_start()                whether this process got rights that who started it does not have; other effective
//                                        ids that it merely handed on are no such rights
//   SignalMask, BlockSignals             the calling thread's; BlockSignals blocks all for a scope
//   signal_description(number)           "SIGSEGV (segmentation fault)"
//   ignore_terminal_signals() -> TerminalSignals   which can be given back their dispositions by restore()
//   go_to_root_directory()
//   lead_own_process_group()             the same, but stays in one that cannot be named here, of a foreign namespace
//   allow_many_handles()                 as many as the hard limit lets it have
//   end_child(pid)                       kills an unreaped child of this process
//   process_exists(pid)                  whether there is one of that number, a zombie perhaps
//   resident_memory(pid) -> optional<size_t>   how many bytes of memory it has now, 0 for a zombie; empty where there is no
//                                        such process, and where the system does not tell. Allocates nothing.
//   is_stopped(pid)                      whether a signal has stopped it, not a debugger; false where the system does not tell
//   watch_process(pid) -> Handle         a watch: readable when that process is gone; none where there can be none
//   can_watch_processes()                whether the system, as it is now, has such a thing
//   signal_watched(watch, number)        false where that process is gone
//   exit_status_of_watched(watch)        of one that is gone, where the system still knows it
//   reap_watched(watch) -> optional<ExitStatus>   the same of one that is gone, which is reaped if it is a child of this
//                                        process; empty while a debugger has it, which lets it go later
//   is_held(watch)                       whether a child of this process is gone, but for a debugger
//   die_with_parent(pid) -> bool         from now on this process is killed when its parent `pid` ends; false where it is
//                                        gone already, and `children_die_with_parent` says whether it does so. Only for
//                                        children of single-threaded parents.
//   adopt_orphans()                      the descendants of this process whose parents die become its children, where that can
//                                        be; it is to reap them
//   children_of_this_thread(), descendants_of(pid)   their numbers, zombies too; with those at least that do not change
//                                        meanwhile. None where the system does not tell, or tells those of another namespace
//   wake_with_parent()                   a stopped process goes on when its parent ends, and sees to its own end; also when
//                                        no more than the thread ends that started it

#if !defined(_WIN32)
#  include <plait/os/posix/process.hpp>
#  if defined(__linux__) && !defined(PLAIT_PORTABLE_POSIX)
#    include <plait/os/linux/process.hpp>
#  else
#    include <plait/os/posix/process_fallback.hpp>
#  endif
#  if defined(__GLIBC_PREREQ) && !defined(PLAIT_PORTABLE_POSIX)
#    if __GLIBC_PREREQ(2, 34)
#      define PLAIT_OS_SPAWN_CLOSES
#    endif
#  endif
#  if defined(PLAIT_OS_SPAWN_CLOSES)
#    undef PLAIT_OS_SPAWN_CLOSES
#    include <plait/os/linux/spawn_actions.hpp>
#  else
#    include <plait/os/posix/spawn_actions_fallback.hpp>
#  endif
#  include <plait/os/standard_streams.hpp>
#endif

// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: signals for who can ask, and be woken by a Waker, but not be interrupted.
//   SignalBell{rung}          what a signal rings: sets `rung`, and wakes the Waker that it was given
//     wake_too(waker)           from now on; null for none
//   TakenSignal{number, bell, mode}   from now on that signal does nothing in this process but ring. One owner a signal.
//                             With `Mode::once` the second one does what signals do by default.
//                             Throws: std::invalid_argument for what cannot be taken; UsageError where somebody has it.
//     take() -> bool            whether it has come since it was last asked
//     put_back()                it has come, and nothing came of it
//     keep(mode)                in that mode from now on
//     ~TakenSignal()            gives back what the signal did before, unless the program has changed that meanwhile; one
//                               that came and was not taken is sent anew, and does that
//   ends_program(number)      whether the signal does what it does by default, for a process or its parent's copy
//   interrupt_signal          Ctrl-C's
// Where a process is forked, the copy has none of it: a signal there does what it did before.

#if !defined(_WIN32)
#  include <plait/os/posix/signals.hpp>
#endif

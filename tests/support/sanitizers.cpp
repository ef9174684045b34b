// SPDX-License-Identifier: MIT

// How the sanitizers behave in the test programs, and in their children, which a variable of the environment might not
// reach. A crash that a test makes on purpose is to end by its signal: the sanitizers leave those alone.

#define PLAIT_TEST_CRASHES "handle_segv=0:handle_abort=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0"

extern "C" {

const char* __asan_default_options();
const char* __ubsan_default_options();
const char* __tsan_default_options();
const char* __tsan_default_suppressions();

const char* __asan_default_options() { return PLAIT_TEST_CRASHES ":detect_stack_use_after_return=1"; }

const char* __ubsan_default_options() { return "print_stacktrace=1"; }

// die_after_fork=0: a forked child may start threads. halt_on_error=1: a race in a child is a failure of the child.
const char* __tsan_default_options() { return PLAIT_TEST_CRASHES ":die_after_fork=0:halt_on_error=1"; }

// libstdc++ counts the owners of an exception and of its text where ThreadSanitizer cannot see it.
const char* __tsan_default_suppressions() { return "called_from_lib:libstdc++.so\n"; }

}  // extern "C"

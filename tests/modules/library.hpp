// SPDX-License-Identifier: MIT
#pragma once

// What executable.cpp and host.cpp do with library.cpp, which includes plait. There are two libraries of the
// one source; number.cpp tells them apart.

struct Plugin {
    int number;
    /// The address of a state of plait, as this module has it.
    const void* (*unraisable_hook)();
    /// Throws the `which`th of plait's exceptions.
    void (*fail)(int which);
    /// What a function of the library makes of `x` in a process of its own, begun by way `how`.
    int (*compute)(int x, int how);
    /// Whether an exception of its own comes home to it.
    bool (*gets_exceptions)(int how);
    /// Whether it can have no process but a copy of this program: the way `fork`.
    bool (*is_refused_fresh_starts)();
    int fork;
};

/// Of the library that asks, and no other's, though the first loaded may offer its own to all.
__attribute__((visibility("hidden"))) int own_number();

extern "C" __attribute__((visibility("default"))) const Plugin* get_plugin();

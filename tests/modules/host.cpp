// SPDX-License-Identifier: MIT
#include "library.hpp"

#include <dlfcn.h>

#include <cstdio>

// host LIBRARY: a program that knows nothing of plait, and loads a library that does. Its main would run again in a fresh
// start, so the library is refused one, and is not for a copy of the program.

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    void* const library = ::dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        std::printf("%s\n", ::dlerror());
        return 2;
    }
    const Plugin& plugin = *reinterpret_cast<const Plugin* (*)()>(::dlsym(library, "get_plugin"))();
    if (!plugin.is_refused_fresh_starts()) {
        std::printf("a fresh start of this program was tried\n");
        return 1;
    }
    const int made = plugin.compute(21, plugin.fork);
    if (made != 21 * plugin.number + 1) {
        std::printf("a copy of this program made %d\n", made);
        return 1;
    }
    return 0;
}

// SPDX-License-Identifier: MIT
#include "library.hpp"

#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/process.hpp>

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

// executable SHARED|SEPARATE LIBRARY LIBRARY: loads two libraries that include plait too, and does with them what programs
// do with plugins. The first word says whether plait's state is expected to be one for all. LINKED: the executable is
// linked to the first library.

namespace mp = plait::multiprocessing;

namespace {

#if defined(_LIBCPP_VERSION)
constexpr bool by_address = true;
#else
constexpr bool by_address = false;
#endif

int failures = 0;

void check(bool holds, const char* what, int number) {
    if (holds) return;
    std::printf("library %d: %s: does not hold\n", number, what);
    ++failures;
}

const Plugin* load(const char* path) {
    void* const library = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        std::printf("%s\n", ::dlerror());
        std::exit(2);
    }
    return reinterpret_cast<const Plugin* (*)()>(::dlsym(library, "get_plugin"))();
}

template <class Exception>
bool catches(const Plugin& plugin, int which) {
    try {
        plugin.fail(which);
    } catch (const Exception&) {
        return true;
    } catch (...) {
        return false;
    }
    return false;
}

int increase(int x) { return x + 1; }

void try_plugin(const Plugin& plugin, int number, bool shared) {
    check(plugin.number == number, "it is the library that it says", number);
    check((plugin.unraisable_hook() == &plait::detail::unraisable_hook()) == shared,
          shared ? "its state is the executable's" : "its state is its own", number);
    check(catches<std::runtime_error>(plugin, 1), "a TimeoutError of its is caught here as what the standard has",
          number);
    check(catches<std::logic_error>(plugin, 2), "a UsageError of its is caught here as what the standard has", number);
    // libc++ takes two types for one only where the dynamic linker has made one of them.
    if (shared || !by_address) {
        check(catches<plait::Error>(plugin, 0), "an Error of its is caught here", number);
        check(catches<plait::TimeoutError>(plugin, 1), "a TimeoutError of its is caught here", number);
        check(catches<plait::Error>(plugin, 1), "a TimeoutError of its is caught here as an Error", number);
        check(catches<plait::UsageError>(plugin, 2), "a UsageError of its is caught here", number);
        check(catches<plait::ProcessDied>(plugin, 3), "a ProcessDied of its is caught here", number);
        check(catches<plait::CancelledError>(plugin, 4), "a CancelledError of its is caught here", number);
        check(catches<plait::RemoteError>(plugin, 5), "a RemoteError of its is caught here", number);
    }
    for (const mp::StartMethod method : {mp::StartMethod::spawn, mp::StartMethod::forkserver, mp::StartMethod::fork}) {
        const int how = static_cast<int>(method);
        check(plugin.compute(21, how) == 21 * number + 1, "a process of its runs its functions", number);
        check(plugin.gets_exceptions(how), "an exception of its own type comes home to it", number);
    }
    // A function of the library, called for the executable.
    mp::Pool pool(1);
    int (*const compute)(int, int) = plugin.compute;
    check(pool.apply(compute, 21, static_cast<int>(mp::StartMethod::spawn)) == 21 * number + 1,
          "a worker of the executable's calls the library, which makes a worker", number);
}

#if defined(LINKED)
const Plugin* first_plugin(const char*) { return get_plugin(); }
#else
const Plugin* first_plugin(const char* path) { return load(path); }
#endif

}  // namespace

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);
    if (argc != 4) return 2;
    const bool shared = std::strcmp(argv[1], "SHARED") == 0;
    try_plugin(*first_plugin(argv[2]), 1, shared);
    try_plugin(*load(argv[3]), 2, shared);
    mp::Pool pool(1);
    check(pool.apply(increase, 1) == 2, "the executable has processes of its own", 0);
    return failures == 0 ? 0 : 1;
}

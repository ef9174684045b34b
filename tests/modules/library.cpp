// SPDX-License-Identifier: MIT
#include "library.hpp"

#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/process.hpp>
#include <plait/multiprocessing/register_exception.hpp>

#include <exception>
#include <stdexcept>
#include <string>

namespace mp = plait::multiprocessing;

namespace {

struct OwnError : std::runtime_error {
    using std::runtime_error::runtime_error;
};
const mp::RegisterException<OwnError> own_errors_cross;

int multiply(int x) { return x * own_number(); }
void fail_here(const std::string& text) { throw OwnError(text); }

mp::StartMethod method(int how) { return static_cast<mp::StartMethod>(how); }

void fail(int which) {
    switch (which) {
        case 0:
            throw plait::Error("text");
        case 1:
            throw plait::TimeoutError("text");
        case 2:
            throw plait::UsageError("text");
        case 3:
            throw plait::ProcessDied("text", 1, -9);
        case 4:
            throw plait::CancelledError("text");
        default:
            throw plait::RemoteError("type", "text", "there");
    }
}

int compute(int x, int how) {
    mp::Pool pool(mp::PoolOptions{.processes = 1, .start_method = method(how)});
    const auto lambda = [](int y) { return y + 1; };
    return pool.apply(lambda, pool.apply(multiply, x));
}

bool gets_exceptions(int how) {
    mp::Process process(mp::ProcessOptions{.start_method = method(how)}, fail_here, "from afar");
    process.start();
    process.join();
    const auto exception = process.exception();
    if (exception == nullptr) return false;
    try {
        std::rethrow_exception(exception);
    } catch (const OwnError& error) {
        return error.what() == std::string("from afar");
    } catch (...) {
        return false;
    }
}

bool is_refused_fresh_starts() {
    for (const mp::StartMethod each : {mp::StartMethod::spawn, mp::StartMethod::forkserver}) {
        mp::Process process(mp::ProcessOptions{.start_method = each}, fail_here, "never");
        try {
            process.start();
            return false;
        } catch (const plait::UsageError&) {
            // As it should be.
        }
    }
    return true;
}

const void* unraisable_hook() { return &plait::detail::unraisable_hook(); }

}  // namespace

const Plugin* get_plugin() {
    static const Plugin plugin{own_number(),
                               unraisable_hook,
                               fail,
                               compute,
                               gets_exceptions,
                               is_refused_fresh_starts,
                               static_cast<int>(mp::StartMethod::fork)};
    return &plugin;
}

// SPDX-License-Identifier: MIT
#pragma once

#include <signal.h>

namespace support {

/// What a signal does, for a scope.
class Disposition {
public:
    Disposition(int number, void (*handler)(int), int flags = SA_RESTART) : number_{number} {
        struct ::sigaction action{};
        action.sa_handler = handler;
        action.sa_flags = flags;
        ::sigaction(number, &action, &before_);
    }
    Disposition(const Disposition&) = delete;
    Disposition& operator=(const Disposition&) = delete;
    ~Disposition() { ::sigaction(number_, &before_, nullptr); }

private:
    int number_;
    struct ::sigaction before_{};
};

/// What it does now.
inline void (*disposition_of(int number))(int) {
    struct ::sigaction now{};
    ::sigaction(number, nullptr, &now);
    return now.sa_handler;
}

}  // namespace support
